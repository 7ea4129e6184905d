import { expect, test } from "vitest";
import { parseRole, roleExtendedKeyUsage, roleKeyUsage } from "./role.js";

test("a role without fields has Vault's defaults", () => {
  expect(parseRole({})).toEqual({
    ttl: 0,
    max_ttl: 0,
    not_before_duration: 30,
    allowed_domains: [],
    allow_bare_domains: false,
    allow_subdomains: false,
    allow_glob_domains: false,
    allow_wildcard_certificates: true,
    allow_any_name: false,
    allow_localhost: true,
    enforce_hostnames: true,
    allow_short_names: false,
    allow_ip_sans: true,
    allowed_uri_sans: [],
    server_flag: true,
    client_flag: true,
    code_signing_flag: false,
    email_protection_flag: false,
    key_usage: ["DigitalSignature", "KeyAgreement", "KeyEncipherment"],
    ext_key_usage: [],
    ext_key_usage_oids: [],
    key_type: "rsa",
    key_bits: 0,
    signature_bits: 0,
    use_csr_common_name: true,
    use_csr_sans: true,
    require_cn: true,
    cn_validations: ["email", "hostname"],
    organization: [],
    ou: [],
    country: [],
    locality: [],
    province: [],
    street_address: [],
    postal_code: [],
    basic_constraints_valid_for_non_ca: false,
    no_store: false,
  });
});

test.each([
  { name: "seconds", value: 3600, seconds: 3600 },
  { name: "seconds as text", value: "3600", seconds: 3600 },
  { name: "hours and minutes", value: "1h30m", seconds: 5400 },
  { name: "days", value: "180d", seconds: 15_552_000 },
  { name: "cert-manager's spelling", value: "2160h0m0s", seconds: 7_776_000 },
  { name: "nothing", value: "", seconds: 0 },
  { name: "null", value: null, seconds: 0 },
])("a duration may come as $name", ({ value, seconds }) => {
  expect(parseRole({ ttl: value }).ttl).toBe(seconds);
});

test("flags, numbers and lists are taken in every spelling of Vault's clients", () => {
  const role = parseRole({
    name: "web",
    allow_any_name: "true",
    server_flag: 0,
    key_type: "ec",
    key_bits: "384",
    allowed_domains: "a.example, b.example,",
    ou: ["x", "y"],
    generate_lease: false,
    issuer_ref: "default",
    policy_identifiers: [],
  });
  expect(role).toMatchObject({
    allow_any_name: true,
    server_flag: false,
    key_bits: 384,
    allowed_domains: ["a.example", "b.example"],
    ou: ["x", "y"],
  });
  expect(role).not.toHaveProperty("name");
});

test.each<{ name: string; data: Record<string, unknown>; code: string; text: string }>([
  {
    name: "an unknown field",
    data: { alow_subdomains: true },
    code: "INPUT_INVALID",
    text: "allow_subdomains",
  },
  {
    name: "an unknown field near nothing",
    data: { colour: "red" },
    code: "INPUT_INVALID",
    text: "Leave it out",
  },
  {
    name: "__proto__",
    data: JSON.parse('{"__proto__":1}') as Record<string, unknown>,
    code: "INPUT_INVALID",
    text: "Leave it out",
  },
  { name: "a wrong flag", data: { allow_any_name: "maybe" }, code: "INPUT_INVALID", text: "Correct" },
  { name: "a wrong duration", data: { ttl: "soon" }, code: "INPUT_INVALID", text: "Correct" },
  { name: "a negative duration", data: { ttl: -1 }, code: "INPUT_INVALID", text: "Correct" },
  {
    name: "a duration of a million years",
    data: { ttl: "99999999999" },
    code: "INPUT_INVALID",
    text: "Correct",
  },
  { name: "a list of numbers", data: { allowed_domains: [1] }, code: "INPUT_INVALID", text: "Correct" },
  { name: "ttl above max_ttl", data: { ttl: 61, max_ttl: 60 }, code: "INPUT_INVALID", text: "ttl" },
  { name: "a key type that is none", data: { key_type: "dsa" }, code: "INPUT_INVALID", text: "Correct" },
  { name: "a weak RSA key", data: { key_type: "rsa", key_bits: 1024 }, code: "INPUT_INVALID", text: "2048" },
  { name: "an unknown curve", data: { key_type: "ec", key_bits: 224 }, code: "INPUT_INVALID", text: "256" },
  {
    name: "a size that does not fit",
    data: { key_type: "ec", key_bits: 2048 },
    code: "INPUT_INVALID",
    text: "256",
  },
  { name: "a hash that is none", data: { signature_bits: 160 }, code: "INPUT_INVALID", text: "384" },
  { name: "a wrong OID", data: { ext_key_usage_oids: "1.2.x" }, code: "INPUT_INVALID", text: "dots" },
  { name: "a field that has no effect yet", data: { use_pss: true }, code: "UNSUPPORTED", text: "use_pss" },
  {
    name: "an issuer besides the default",
    data: { issuer_ref: "other" },
    code: "UNSUPPORTED",
    text: "issuer_ref",
  },
])("$name is refused with $code", ({ data, code, text }) => {
  expect(() => parseRole(data)).toThrow(
    expect.objectContaining({ code, suggestion: expect.stringContaining(text) as string }) as Error,
  );
});

test("usages come from flags, names in any case and object identifiers; unknown names are ignored", () => {
  const role = parseRole({
    client_flag: false,
    email_protection_flag: true,
    ext_key_usage: ["serverauth", "TimeStamping", "Juggling"],
    ext_key_usage_oids: "1.3.6.1.4.1.311.20.2.2",
    key_usage: "digitalsignature,CRLSign,Juggling,DigitalSignature",
  });
  expect(roleExtendedKeyUsage(role)).toEqual([
    "1.3.6.1.5.5.7.3.1",
    "1.3.6.1.5.5.7.3.4",
    "1.3.6.1.5.5.7.3.8",
    "1.3.6.1.4.1.311.20.2.2",
  ]);
  expect(roleKeyUsage(role)).toEqual(["digitalSignature", "cRLSign"]);
});
