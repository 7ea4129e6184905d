import { expect, test } from "vitest";
import type { JsonObject } from "../../vault/backend.js";
import { parseRole, roleExtendedKeyUsage, roleKeyUsage, roleWarnings } from "./role.js";

test("a role without fields has Vault's defaults", () => {
  expect(parseRole({})).toEqual({
    issuer_ref: "default",
    ttl: 0,
    max_ttl: 0,
    not_before_duration: 30,
    not_before: "",
    not_before_bound: "permit",
    not_after: "",
    not_after_bound: "permit",
    allowed_domains: [],
    allow_bare_domains: false,
    allow_subdomains: false,
    allow_glob_domains: false,
    allow_wildcard_certificates: true,
    allow_any_name: false,
    allow_localhost: true,
    enforce_hostnames: true,
    allow_short_names: false,
    allow_token_displayname: false,
    allowed_domains_template: false,
    allow_globs_in_identity_templates: false,
    allow_ip_sans: true,
    allowed_ip_sans_cidr: [],
    allowed_uri_sans: [],
    allowed_uri_sans_template: false,
    allowed_other_sans: [],
    allowed_serial_numbers: [],
    allowed_user_ids: [],
    server_flag: true,
    client_flag: true,
    code_signing_flag: false,
    email_protection_flag: false,
    key_usage: ["DigitalSignature", "KeyAgreement", "KeyEncipherment"],
    ext_key_usage: [],
    ext_key_usage_oids: [],
    key_type: "rsa",
    key_bits: 2048,
    signature_bits: 256,
    use_pss: false,
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
    policy_identifiers: [],
    basic_constraints_valid_for_non_ca: false,
    no_store: false,
    generate_lease: false,
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

test("unknown fields are no part of a role", () => {
  const data = JSON.parse('{"__proto__":1,"alow_subdomains":true,"mount_point":"pki"}') as JsonObject;
  expect(parseRole(data)).toEqual(parseRole({}));
});

test.each<{ name: string; data: JsonObject; text: string }>([
  { name: "a wrong flag", data: { allow_any_name: "maybe" }, text: "Correct" },
  { name: "a wrong duration", data: { ttl: "soon" }, text: "Correct" },
  { name: "a negative duration", data: { ttl: -1 }, text: "Correct" },
  { name: "a duration of a million years", data: { ttl: "99999999999" }, text: "Correct" },
  { name: "a list of numbers", data: { allowed_domains: [1] }, text: "Correct" },
  { name: "ttl above max_ttl", data: { ttl: 61, max_ttl: 60 }, text: "ttl" },
  { name: "a key type that is none", data: { key_type: "dsa" }, text: "Correct" },
  { name: "a weak RSA key", data: { key_type: "rsa", key_bits: 1024 }, text: "2048" },
  { name: "an unknown curve", data: { key_type: "ec", key_bits: 192 }, text: "256" },
  { name: "a size of another type", data: { key_type: "ec", key_bits: 2048 }, text: "256" },
  { name: "a size for any type", data: { key_type: "any", key_bits: 256 }, text: "0" },
  { name: "a negative size", data: { key_type: "ec", signature_bits: -1 }, text: "0" },
  { name: "a hash that is none", data: { signature_bits: 160 }, text: "384" },
  { name: "a wrong OID", data: { ext_key_usage_oids: "1.2.x" }, text: "dots" },
  { name: "an OID that DER cannot carry", data: { ext_key_usage_oids: "1.99.1" }, text: "dots" },
  { name: "a day that there is not", data: { not_after: "2030-02-30T00:00:00Z" }, text: "2030-12-31" },
  { name: "a date without a zone", data: { not_before: "2030-02-03T00:00:00" }, text: "2030-12-31" },
  { name: "a bound that is none", data: { not_after_bound: "sometimes" }, text: "2030-12-31" },
  { name: "a beginning's bound that is none", data: { not_before_bound: "sometimes" }, text: "Correct" },
  { name: "a network that is none", data: { allowed_ip_sans_cidr: "10.0.0.0/40" }, text: "10.0.0.0/8" },
  { name: "another name without a type", data: { allowed_other_sans: "1.2.3:me" }, text: "UTF8" },
  { name: "another name of another type", data: { allowed_other_sans: "1.2.3;IA5:me" }, text: "UTF8" },
  { name: "disabled beside others", data: { cn_validations: "disabled,email" }, text: "alone" },
  { name: "a validation that is none", data: { cn_validations: "phone" }, text: "hostname" },
  { name: "a policy twice", data: { policy_identifiers: ["1.2.3", "1.2.3"] }, text: "each once" },
  { name: "a policy that is none", data: { policy_identifiers: "policy" }, text: "dots" },
  { name: "a policy without oid", data: { policy_identifiers: [{ cps: "https://x" }] }, text: "Correct" },
  {
    name: "a template that nothing fills",
    data: { allowed_domains_template: true, allowed_domains: "{{identity.groups.ids}}.example" },
    text: "identity.entity.name",
  },
  {
    name: "half a template",
    data: { allowed_uri_sans_template: true, allowed_uri_sans: "spiffe://{{identity.entity.id}" },
    text: "identity.entity.name",
  },
])("$name is refused", ({ data, text }) => {
  expect(() => parseRole(data)).toThrow(
    expect.objectContaining({
      code: "INPUT_INVALID",
      suggestion: expect.stringContaining(text) as string,
    }) as Error,
  );
});

test.each<{ name: string; data: JsonObject; sizes: readonly [number, number] }>([
  { name: "RSA", data: {}, sizes: [2048, 256] },
  { name: "RSA-4096 with SHA-384", data: { key_bits: 4096, signature_bits: 384 }, sizes: [4096, 384] },
  { name: "EC", data: { key_type: "ec" }, sizes: [256, 0] },
  { name: "EC P-224", data: { key_type: "ec", key_bits: "224" }, sizes: [224, 0] },
  {
    name: "EC with a hash that only Vault knows",
    data: { key_type: "ec", signature_bits: 521 },
    sizes: [256, 521],
  },
  {
    name: "Ed25519 with sizes",
    data: { key_type: "ed25519", key_bits: 256, signature_bits: 512 },
    sizes: [0, 0],
  },
  { name: "any", data: { key_type: "any", signature_bits: 384 }, sizes: [0, 384] },
])("a role for $name has the sizes $sizes", ({ data, sizes }) => {
  const role = parseRole(data);
  expect([role.key_bits, role.signature_bits]).toEqual(sizes);
});

test("what a role keeps is normal: networks, validations, policies, leases", () => {
  const role = parseRole({
    allowed_ip_sans_cidr: ["10.1.2.3/8", "FD00::1/64"],
    cn_validations: ["Hostname", "EMAIL", "email"],
    policy_identifiers: '[{"oid":"1.3.6.1.4.1.7.8","notice":"I am a notice"}, "1.2.3"]',
    no_store: true,
    generate_lease: true,
    issuer_ref: "",
  });
  expect(role).toMatchObject({
    allowed_ip_sans_cidr: ["10.0.0.0/8", "fd00::/64"],
    cn_validations: ["hostname", "email"],
    policy_identifiers: ['{"oid":"1.3.6.1.4.1.7.8","notice":"I am a notice"}', "1.2.3"],
    generate_lease: false,
    issuer_ref: "default",
  });
  expect(parseRole({ ...role })).toEqual(role);
});

test("the writer of a role is told what will not be as it was written", () => {
  const warnings = (data: JsonObject) =>
    roleWarnings(parseRole(data), { generate_lease: data["generate_lease"] === true });
  expect(warnings({})).toEqual([]);
  expect(warnings({ key_usage: "DigitalSignature,Juggling", ext_key_usage: "Juggling" })).toEqual([
    'key_usage has the unknown name "Juggling", which is ignored',
    'ext_key_usage has the unknown name "Juggling", which is ignored',
  ]);
  expect(warnings({ no_store: true, generate_lease: true })).toEqual([
    expect.stringContaining("no_store=true takes priority"),
  ]);
  expect(warnings({ generate_lease: true })).toEqual([
    expect.stringContaining("a lease for every certificate"),
  ]);
});

test("usages come from flags, names in any case and object identifiers; unknown names are ignored", () => {
  const role = parseRole({
    client_flag: false,
    email_protection_flag: true,
    ext_key_usage: ["serverauth", "TimeStamping", "IPSECUser", "Juggling"],
    ext_key_usage_oids: "1.3.6.1.4.1.311.20.2.2",
    key_usage: "digitalsignature,CRLSign,Juggling,DigitalSignature",
  });
  expect(roleExtendedKeyUsage(role)).toEqual([
    "1.3.6.1.5.5.7.3.1",
    "1.3.6.1.5.5.7.3.4",
    "1.3.6.1.5.5.7.3.8",
    "1.3.6.1.5.5.7.3.7",
    "1.3.6.1.4.1.311.20.2.2",
  ]);
  expect(roleKeyUsage(role)).toEqual(["digitalSignature", "cRLSign"]);
  expect(roleKeyUsage(parseRole({ key_usage: [] }))).toEqual([]);
});
