import { RksError } from "@rk8s/protocol";
import { OID, parseCertificateRequest, decodePem } from "@rk8s/x509";
import { expect, test } from "vitest";
import type { JsonObject } from "../../vault/backend.js";
import type { TemplateSource } from "../role/identity-template.js";
import { parseRole } from "../role/role.js";
import { aCsr, aKey, type CsrInit } from "../testing/a-csr.js";
import { issueSchema } from "./issue-fields.js";
import { decideLeaf, type Issuance } from "./leaf.js";

const now = Date.UTC(2026, 5, 1);
const key = aKey("ec");

const carol: TemplateSource = {
  identity: {
    id: "9f1c",
    name: "carol",
    metadata: { team: "tills", star: "*", empty: "" },
    aliases: [{ mountAccessor: "auth_approle_1", id: "a1", name: "carol-login", metadata: { region: "eu" } }],
  },
  displayName: "token-carol",
  metadata: { app: "checkout" },
};
const nobody: TemplateSource = { identity: undefined, displayName: "", metadata: {} };

function decide(
  role: JsonObject,
  asked: {
    readonly request?: JsonObject;
    readonly csr?: Omit<CsrInit, "key">;
    readonly caller?: TemplateSource;
  },
): Issuance {
  const { request = {}, csr, caller = nobody } = asked;
  const der = csr === undefined ? undefined : (decodePem(aCsr({ key, ...csr }))[0]?.der ?? new Uint8Array());
  return decideLeaf(parseRole({ require_cn: false, ...role }), issueSchema.parse(request), {
    roleName: "web",
    caller,
    now,
    defaultTtlSeconds: 3600,
    maxTtlSeconds: 7200,
    issuerNotAfter: now + 86_400_000,
    leafNotAfterBehavior: "err",
    csr: der === undefined ? undefined : parseCertificateRequest(der),
  });
}

function outcome(run: () => unknown): string {
  try {
    run();
    return "issued";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}

interface Asked {
  readonly name: string;
  readonly role: JsonObject;
  readonly request?: JsonObject;
  readonly csr?: Omit<CsrInit, "key">;
  readonly caller?: TemplateSource;
}

const upn = "1.3.6.1.4.1.311.20.2.3";
const networks = { allowed_ip_sans_cidr: ["10.0.0.0/8", "fd00::/8"] };
const templated = { allowed_domains_template: true, allow_bare_domains: true, allow_subdomains: true };
const uris = { allowed_uri_sans_template: true };

test.each<Asked>([
  { name: "an address with no networks listed", role: {}, request: { ip_sans: "192.0.2.1" } },
  { name: "an address in a network", role: networks, request: { ip_sans: "10.9.8.7,fd00::7" } },
  { name: "the same, mapped into IPv6", role: networks, request: { ip_sans: "::ffff:10.9.8.7" } },
  { name: "a CSR's address in a network", role: networks, csr: { names: { ipAddresses: ["10.1.1.1"] } } },
  {
    name: "a URI by its pattern",
    role: { allowed_uri_sans: "spiffe://x/*" },
    request: { uri_sans: "spiffe://x/y" },
  },
  { name: "any other name", role: { allowed_other_sans: "*" }, request: { other_sans: `${upn};UTF8:me` } },
  {
    name: "another name by its pattern",
    role: { allowed_other_sans: `${upn};UTF8:*@example.org` },
    request: { other_sans: [`${upn};utf-8:me@example.org`] },
  },
  { name: "a serial number", role: { allowed_serial_numbers: "SN-*" }, request: { serial_number: "SN-7" } },
  {
    name: "a CSR's serial number",
    role: { allowed_serial_numbers: "SN-7" },
    csr: { attributes: [{ type: OID.serialNumber, value: "SN-7" }] },
  },
  {
    name: "user ids in any case",
    role: { allowed_user_ids: "Carol,d*" },
    request: { user_ids: "carol,dave" },
  },
  {
    name: "a CSR's user id",
    role: { allowed_user_ids: "*" },
    csr: { attributes: [{ type: OID.userId, value: "carol" }] },
  },
  {
    name: "the display name of the caller's token",
    role: { allow_token_displayname: true, enforce_hostnames: false },
    request: { common_name: "token-carol" },
    caller: carol,
  },
  {
    name: "a name below the display name",
    role: { allow_token_displayname: true, allow_subdomains: true },
    request: { common_name: "*.token-carol", alt_names: "a.token-carol" },
    caller: carol,
  },
  {
    name: "an address below the host of a display name that is one",
    role: { allow_token_displayname: true, allow_subdomains: true },
    request: { common_name: "x@eu.shop.test" },
    caller: { ...nobody, displayName: "carol@shop.test" },
  },
  ...[
    ["identity.entity.name", "carol"],
    ["identity.entity.id", "9f1c"],
    ["identity.entity.metadata.team", "tills"],
    [" identity.entity.aliases.auth_approle_1.name ", "carol-login"],
    ["identity.entity.aliases.auth_approle_1.id", "a1"],
    ["identity.entity.aliases.auth_approle_1.metadata.region", "eu"],
    ["token.display_name", "token-carol"],
    ["token.metadata.app", "checkout"],
  ].map(([place = "", value = ""]) => ({
    name: `a domain with {{${place}}}`,
    role: { ...templated, allowed_domains: `{{${place}}}.shop.test` },
    request: { common_name: `a.${value}.shop.test`, alt_names: `${value}.shop.test` },
    caller: carol,
  })),
  {
    name: "a URI with a template",
    role: { ...uris, allowed_uri_sans: "spiffe://shop.test/{{identity.entity.name}}/*" },
    request: { uri_sans: "spiffe://shop.test/carol/till" },
    caller: carol,
  },
  {
    name: "a value with * where the role takes it",
    role: {
      ...templated,
      allow_glob_domains: true,
      allow_globs_in_identity_templates: true,
      allowed_domains: "{{identity.entity.metadata.star}}.shop.test",
    },
    request: { common_name: "a.shop.test" },
    caller: carol,
  },
])("$name is issued", ({ role, ...asked }) => {
  expect(outcome(() => decide(role, asked))).toBe("issued");
});

test.each<Asked & { readonly remedy: string }>([
  {
    name: "an address",
    role: { allow_ip_sans: false },
    request: { ip_sans: "10.0.0.1" },
    remedy: "allow_ip_sans=true",
  },
  {
    name: "an address outside",
    role: networks,
    request: { ip_sans: "10.0.0.1,11.0.0.1" },
    remedy: "allowed_ip_sans_cidr",
  },
  {
    name: "the same, mapped into IPv6",
    role: networks,
    request: { ip_sans: "::ffff:11.0.0.1" },
    remedy: "cidr",
  },
  // GHSA-g892-p242-8g86: addresses of a CSR went past the networks.
  {
    name: "a CSR's address outside",
    role: networks,
    csr: { names: { ipAddresses: ["11.0.0.1"] } },
    remedy: "cidr",
  },
  {
    name: "a CSR's address",
    role: { allow_ip_sans: false },
    csr: { names: { ipAddresses: ["10.0.0.1"] } },
    remedy: "allow_ip_sans",
  },
  {
    name: "a CSR's mapped address outside",
    role: networks,
    csr: { names: { ipAddresses: ["::ffff:192.0.2.1"] } },
    remedy: "allowed_ip_sans_cidr",
  },
  { name: "a URI", role: {}, request: { uri_sans: "https://x" }, remedy: "allowed_uri_sans" },
  {
    name: "a CSR's URI",
    role: { allowed_uri_sans: "https://y/*" },
    csr: { names: { uris: ["https://x"] } },
    remedy: "uri",
  },
  { name: "another name", role: {}, request: { other_sans: `${upn};UTF8:me` }, remedy: "allowed_other_sans" },
  {
    name: "another name of another type",
    role: { allowed_other_sans: "1.2.3;UTF8:*" },
    request: { other_sans: `${upn};UTF8:me` },
    remedy: "allowed_other_sans",
  },
  {
    name: "a CSR's other name",
    role: { allowed_other_sans: "1.2.3;UTF8:*" },
    csr: { names: { utf8OtherNames: [{ type: upn, value: "me" }] } },
    remedy: "allowed_other_sans",
  },
  { name: "a serial number", role: {}, request: { serial_number: "7" }, remedy: "allowed_serial_numbers" },
  {
    name: "a CSR's serial number",
    role: { allowed_serial_numbers: "8" },
    csr: { attributes: [{ type: OID.serialNumber, value: "7" }] },
    remedy: "allowed_serial_numbers",
  },
  {
    name: "a user id",
    role: { allowed_user_ids: "dave" },
    request: { user_ids: "carol" },
    remedy: "allowed_user_ids",
  },
  {
    name: "a CSR's user id",
    role: {},
    csr: { attributes: [{ type: OID.userId, value: "carol" }] },
    remedy: "allowed_user_ids",
  },
  {
    name: "the display name without the flag",
    role: {},
    request: { common_name: "token-carol" },
    caller: carol,
    remedy: "allow_short_names=true",
  },
  {
    name: "a name by an empty display name",
    role: { allow_token_displayname: true, allow_subdomains: true },
    request: { common_name: "a.shop.test" },
    remedy: "allowed_domains",
  },
  {
    name: "a template without the flag",
    role: { allowed_domains: "{{identity.entity.name}}.shop.test", allow_bare_domains: true },
    request: { common_name: "carol.shop.test" },
    caller: carol,
    remedy: "allowed_domains",
  },
  {
    name: "a template without an identity",
    role: { ...templated, allowed_domains: "{{identity.entity.name}}.shop.test" },
    request: { common_name: "carol.shop.test" },
    remedy: "value that the template names",
  },
  {
    name: "a template that the identity has an empty value for",
    role: { ...templated, allowed_domains: "{{identity.entity.metadata.empty}}shop.test" },
    request: { common_name: "shop.test" },
    caller: carol,
    remedy: "value that the template names",
  },
  {
    name: "a template over what every object has",
    role: { ...templated, allowed_domains: "{{identity.entity.metadata.toString}}.shop.test" },
    request: { common_name: "a.shop.test" },
    caller: carol,
    remedy: "value that the template names",
  },
  // GHSA-59w7-v8rr-pj4p: a * in an identity turned one name into all of them.
  {
    name: "a value with * in a domain",
    role: {
      ...templated,
      allow_glob_domains: true,
      allowed_domains: "{{identity.entity.metadata.star}}.shop.test",
    },
    request: { common_name: "a.shop.test" },
    caller: carol,
    remedy: "allow_globs_in_identity_templates",
  },
  {
    name: "a value with * in a URI",
    role: { ...uris, allowed_uri_sans: "spiffe://x/{{identity.entity.metadata.star}}" },
    request: { uri_sans: "spiffe://x/admin" },
    caller: carol,
    remedy: "value that the template names",
  },
])("$name is refused, and the answer says what would allow it", ({ role, remedy, ...asked }) => {
  expect(() => decide(role, asked)).toThrow(
    expect.objectContaining({
      code: "ROLE_REFUSED",
      message: expect.stringMatching(/is not allowed by role "web": /) as string,
      suggestion: expect.stringContaining(remedy) as string,
    }) as Error,
  );
});

test.each<Asked & { readonly warning: string }>([
  {
    name: "a common name beside the CSR's",
    role: { allow_any_name: true },
    request: { common_name: "b.test" },
    csr: { commonName: "a.test" },
    warning: "common_name",
  },
  {
    name: "alternative names beside the CSR's",
    role: { allow_any_name: true },
    request: { alt_names: "b.test" },
    csr: { commonName: "a.test" },
    warning: "alt_names",
  },
  {
    name: "addresses beside the CSR's",
    role: { allow_any_name: true },
    request: { ip_sans: "10.0.0.1" },
    csr: { commonName: "a.test" },
    warning: "ip_sans",
  },
  {
    name: "a common name that is no DNS name",
    role: { allow_any_name: true, enforce_hostnames: false },
    request: { common_name: "Carol Smith" },
    warning: "not among the alternative names",
  },
])("$name is left aside with a warning", ({ role, warning, ...asked }) => {
  expect(decide(role, asked).warnings).toEqual([expect.stringContaining(warning)]);
});

test("what a request repeats of its CSR gives no warning", () => {
  const request = { common_name: "a.test", alt_names: "a.test,b.test", ip_sans: "10.0.0.1" };
  const names = { dnsNames: ["a.test", "b.test"], ipAddresses: ["10.0.0.1"] };
  const { warnings } = decide({ allow_any_name: true }, { request, csr: { commonName: "a.test", names } });
  expect(warnings).toEqual([]);
});

test.each<{ name: string; role: JsonObject; request: JsonObject }>([
  { name: "an underscore", role: { allow_any_name: true }, request: { alt_names: "_x.test" } },
  { name: "an address in brackets", role: {}, request: { ip_sans: "[::1]" } },
  { name: "an address with leading zeros", role: {}, request: { ip_sans: "010.0.0.1" } },
  { name: "a URI with a space", role: { allowed_uri_sans: "*" }, request: { uri_sans: "https://x/ y" } },
  {
    name: "an address that is not ASCII",
    role: { allow_any_name: true },
    request: { alt_names: "ü@x.test" },
  },
  {
    name: "another name without semicolon",
    role: { allowed_other_sans: "*" },
    request: { other_sans: "1.2.3" },
  },
  { name: "a key identifier of odd digits", role: {}, request: { skid: "abc" } },
  {
    name: "a serial number with a line break",
    role: { allowed_serial_numbers: "*" },
    request: { serial_number: "1\n2" },
  },
  { name: "no common name where one is needed", role: { require_cn: true }, request: {} },
])("$name is no name at all and refused as such", ({ role, request }) => {
  expect(outcome(() => decide(role, { request }))).toBe("INPUT_INVALID");
});

test("without enforce_hostnames a DNS name may have underscores", () => {
  const role = { allow_any_name: true, enforce_hostnames: false };
  expect(outcome(() => decide(role, { request: { alt_names: "_dmarc.my_host.test" } }))).toBe("issued");
});
