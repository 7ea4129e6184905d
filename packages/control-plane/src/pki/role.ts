import { nearestWord, RksError } from "@rk8s/protocol";
import { type KeyUsage, OID } from "@rk8s/x509";
import { z } from "zod";
import type { JsonObject } from "../vault/backend.js";
import { duration, flag, integer, list, oneOf, parseFields, text } from "../vault/field-types.js";

/** A PKI role in Vault's words and with Vault's defaults; `allow_short_names` is ours. */
const roleSchema = z.object({
  ttl: duration(0),
  max_ttl: duration(0),
  not_before_duration: duration(30),
  allowed_domains: list([]),
  allow_bare_domains: flag(false),
  allow_subdomains: flag(false),
  allow_glob_domains: flag(false),
  allow_wildcard_certificates: flag(true),
  allow_any_name: flag(false),
  allow_localhost: flag(true),
  enforce_hostnames: flag(true),
  /** Also allow a DNS name of one label when it is the first label of another name that the role allows. */
  allow_short_names: flag(false),
  allow_ip_sans: flag(true),
  allowed_uri_sans: list([]),
  server_flag: flag(true),
  client_flag: flag(true),
  code_signing_flag: flag(false),
  email_protection_flag: flag(false),
  key_usage: list(["DigitalSignature", "KeyAgreement", "KeyEncipherment"]),
  ext_key_usage: list([]),
  ext_key_usage_oids: list([]),
  key_type: oneOf("rsa", ["rsa", "ec", "ed25519", "any"]),
  key_bits: integer(0),
  signature_bits: integer(0),
  use_csr_common_name: flag(true),
  use_csr_sans: flag(true),
  require_cn: flag(true),
  cn_validations: list(["email", "hostname"]),
  organization: list([]),
  ou: list([]),
  country: list([]),
  locality: list([]),
  province: list([]),
  street_address: list([]),
  postal_code: list([]),
  basic_constraints_valid_for_non_ca: flag(false),
  no_store: flag(false),
});
export type PkiRole = z.infer<typeof roleSchema>;

/** Fields of Vault's that are accepted only with the value that changes nothing. */
const neutralSchema = z.object({
  issuer_ref: text("default"),
  generate_lease: flag(false),
  use_pss: flag(false),
  allowed_domains_template: flag(false),
  allow_globs_in_identity_templates: flag(false),
  allow_token_displayname: flag(false),
  allowed_uri_sans_template: flag(false),
  allowed_ip_sans_cidr: list([]),
  allowed_other_sans: list([]),
  allowed_serial_numbers: list([]),
  allowed_user_ids: list([]),
  policy_identifiers: list([]),
  not_before: text(""),
  not_after: text(""),
  not_before_bound: text("permit"),
  not_after_bound: text("permit"),
});

/** Clients repeat the role's name, which the path has already, in the body. */
const IGNORED_FIELDS = ["name"];
const ROLE_FIELDS = Object.keys(roleSchema.shape);
const NEUTRAL_FIELDS = Object.keys(neutralSchema.shape);
const KNOWN_FIELDS: ReadonlySet<string> = new Set([...ROLE_FIELDS, ...NEUTRAL_FIELDS, ...IGNORED_FIELDS]);

/** Key sizes by type; 0 stands for the first. */
const KEY_BITS: Readonly<Record<PkiRole["key_type"], readonly number[]>> = {
  rsa: [2048, 3072, 4096],
  ec: [256, 384, 521],
  ed25519: [0],
  any: [0],
};

const KEY_USAGES: ReadonlyMap<string, KeyUsage> = new Map([
  ["digitalsignature", "digitalSignature"],
  ["contentcommitment", "nonRepudiation"],
  ["nonrepudiation", "nonRepudiation"],
  ["keyencipherment", "keyEncipherment"],
  ["dataencipherment", "dataEncipherment"],
  ["keyagreement", "keyAgreement"],
  ["certsign", "keyCertSign"],
  ["crlsign", "cRLSign"],
  ["encipheronly", "encipherOnly"],
  ["decipheronly", "decipherOnly"],
]);

const EXTENDED_KEY_USAGES: ReadonlyMap<string, string> = new Map([
  ["any", OID.anyExtendedKeyUsage],
  ["serverauth", OID.serverAuth],
  ["clientauth", OID.clientAuth],
  ["codesigning", OID.codeSigning],
  ["emailprotection", OID.emailProtection],
  ["timestamping", OID.timeStamping],
  ["ocspsigning", OID.ocspSigning],
]);

const OID_TEXT = /^[0-2](\.(0|[1-9]\d{0,14})){1,20}$/;

/**
 * Parse the body of a role write; what it leaves out gets Vault's default.
 * @throws {RksError} INPUT_INVALID for unknown fields (with the nearest known one), wrong values, `ttl` above `max_ttl`, sizes that
 * do not fit the key type; UNSUPPORTED for fields of Vault's that would have an effect here later only.
 */
export function parseRole(data: JsonObject): PkiRole {
  for (const name of Object.keys(data)) {
    if (!KNOWN_FIELDS.has(name)) refuseUnknown(name);
  }
  const neutral = parseFields(neutralSchema, data, "role");
  const defaults = neutralSchema.parse({});
  for (const [name, value] of Object.entries(neutral)) {
    if (JSON.stringify(value) === JSON.stringify(defaults[name as keyof typeof defaults])) continue;
    throw new RksError(
      "UNSUPPORTED",
      `role field "${name}" has no effect yet, ${JSON.stringify(value).slice(0, 80)} is refused`,
      {
        suggestion: `Leave "${name}" out.`,
      },
    );
  }
  const role = parseFields(roleSchema, data, "role");
  if (role.max_ttl > 0 && role.ttl > role.max_ttl) {
    refuse(`"ttl" of ${role.ttl} seconds is above "max_ttl" of ${role.max_ttl}`, "Make ttl at most max_ttl.");
  }
  const sizes = KEY_BITS[role.key_type];
  if (role.key_bits !== 0 && !sizes.includes(role.key_bits)) {
    refuse(
      `"key_bits" ${role.key_bits} does not fit key type "${role.key_type}"`,
      `Use 0 or one of ${sizes.join(", ")}.`,
    );
  }
  if (![0, 256, 384, 512].includes(role.signature_bits)) {
    refuse(`"signature_bits" ${role.signature_bits} is no size of SHA-2`, "Use 0, 256, 384 or 512.");
  }
  const oid = role.ext_key_usage_oids.find((dotted) => !OID_TEXT.test(dotted));
  if (oid !== undefined)
    refuse(`"ext_key_usage_oids" has "${oid.slice(0, 80)}"`, "Write object identifiers with dots.");
  return role;
}

/** The role as it is stored and as a read answers. */
export function roleData(role: PkiRole): JsonObject {
  return { ...role };
}

/** The key usages of a role; names that nobody knows are ignored, as Vault does. */
export function roleKeyUsage(role: PkiRole): KeyUsage[] {
  const usages = role.key_usage.map((name) => KEY_USAGES.get(name.toLowerCase()));
  return [...new Set(usages.filter((usage) => usage !== undefined))];
}

/** The extended key usages of a role: its flags, names and object identifiers together. */
export function roleExtendedKeyUsage(role: PkiRole): string[] {
  const named = role.ext_key_usage.map((name) => EXTENDED_KEY_USAGES.get(name.toLowerCase()));
  const flags = [
    role.server_flag ? OID.serverAuth : undefined,
    role.client_flag ? OID.clientAuth : undefined,
    role.code_signing_flag ? OID.codeSigning : undefined,
    role.email_protection_flag ? OID.emailProtection : undefined,
  ];
  return [...new Set([...flags, ...named, ...role.ext_key_usage_oids].filter((oid) => oid !== undefined))];
}

function refuseUnknown(name: string): never {
  const near = nearestWord(name, [...ROLE_FIELDS, ...NEUTRAL_FIELDS]);
  throw new RksError("INPUT_INVALID", `role has the unknown field "${name.slice(0, 80)}"`, {
    suggestion: near === undefined ? "Leave it out." : `Write "${near}" instead, or leave it out.`,
  });
}

function refuse(problem: string, suggestion: string): never {
  throw new RksError("INPUT_INVALID", `role is refused: ${problem}`, { suggestion });
}
