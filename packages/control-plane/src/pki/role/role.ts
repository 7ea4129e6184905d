import { RksError } from "@rk8s/protocol";
import { type KeyUsage, OID } from "@rk8s/x509";
import type { JsonObject } from "../../vault/backend.js";
import { normalizeCidr } from "../../vault/cidr.js";
import { parseFields } from "../../vault/field-types.js";
import { keyBits, leafKeySpec } from "../key-spec.js";
import { requireDate } from "./date-text.js";
import { assertTemplate, isTemplate } from "./identity-template.js";
import { parseExtendedKeyUsage, parseKeyUsage, unknownUsages } from "./key-usages.js";
import { isObjectIdentifier } from "./object-identifier.js";
import { ANY_OTHER_SAN, parseOtherSan } from "./other-sans.js";
import { encodePolicyIdentifiers } from "./policy-identifiers.js";
import { type PkiRole, roleSchema } from "./role-fields.js";

const DEFAULT_CN_VALIDATIONS = ["email", "hostname"];
const NOT_AFTER_BOUNDS = ["permit", "ttl-limited", "forbid"];

/**
 * Read the body of a role write; what it leaves out gets OpenBao's default, sizes of 0 become the usual ones. Fields that no
 * role has are ignored: the path warns of them.
 * @throws {RksError} INPUT_INVALID for values that are none, `ttl` above `max_ttl`, sizes that do not fit the key type, dates,
 * networks, object identifiers and templates that nothing can be made of.
 */
export function parseRole(data: JsonObject): PkiRole {
  const role = parseFields(roleSchema, data, "role");
  if (role.max_ttl > 0 && role.ttl > role.max_ttl) {
    refuse(`"ttl" of ${role.ttl} seconds is above "max_ttl" of ${role.max_ttl}`, "Make ttl at most max_ttl.");
  }
  const oid = role.ext_key_usage_oids.find((dotted) => !isObjectIdentifier(dotted));
  if (oid !== undefined)
    refuse(`"ext_key_usage_oids" has "${oid.slice(0, 80)}"`, "Write object identifiers with dots.");
  encodePolicyIdentifiers(role.policy_identifiers);
  assertDates(role);
  assertPatterns(role);
  return {
    ...role,
    ...sizes(role),
    issuer_ref: role.issuer_ref === "" ? "default" : role.issuer_ref,
    allowed_ip_sans_cidr: role.allowed_ip_sans_cidr.map(normalizeCidr),
    cn_validations: commonNameValidations(role.cn_validations),
    // What is not kept cannot be revoked when its lease ends.
    generate_lease: role.generate_lease && !role.no_store,
  };
}

/** What the writer of a role should know about it. `asked` is the role as it was sent. */
export function roleWarnings(role: PkiRole, asked: { readonly generate_lease: boolean }): string[] {
  const warnings = unknownUsages(role.key_usage, role.ext_key_usage);
  if (role.no_store && asked.generate_lease) {
    warnings.push(
      "mutually exclusive values no_store=true and generate_lease=true were both specified; no_store=true takes priority",
    );
  }
  if (role.generate_lease) {
    warnings.push(
      "generate_lease keeps a lease for every certificate: leave it off unless leases are needed",
    );
  }
  return warnings;
}

/** The role as it is stored and as a read answers: numbers for times and sizes, lists for lists. */
export function roleData(role: PkiRole): JsonObject {
  return { ...role };
}

/** The key usages of a role. */
export function roleKeyUsage(role: Pick<PkiRole, "key_usage">): KeyUsage[] {
  return parseKeyUsage(role.key_usage);
}

/** The extended key usages of a role: its flags, names and object identifiers together. */
export function roleExtendedKeyUsage(role: PkiRole): string[] {
  const flags = [
    role.server_flag ? OID.serverAuth : undefined,
    role.client_flag ? OID.clientAuth : undefined,
    role.code_signing_flag ? OID.codeSigning : undefined,
    role.email_protection_flag ? OID.emailProtection : undefined,
  ].filter((usage) => usage !== undefined);
  return [...new Set([...flags, ...parseExtendedKeyUsage(role.ext_key_usage), ...role.ext_key_usage_oids])];
}

/** Sizes as they are stored: those that are not chosen by the key type alone get their default. */
function sizes(role: PkiRole): Pick<PkiRole, "key_bits" | "signature_bits"> {
  const { key_type: type, key_bits: bits, signature_bits: signatureBits } = role;
  if (bits < 0 || signatureBits < 0) refuse("a size is negative", "Use 0 for the usual size.");
  if (type === "any") {
    if (bits !== 0) refuse(`"key_bits" ${bits} does not fit key type "any"`, "Use 0.");
    return { key_bits: 0, signature_bits: signatureBits };
  }
  const key_bits = keyBits(leafKeySpec(type, bits));
  // Issuers with EC and Ed25519 keys choose the hash themselves, whatever the role says.
  if (type !== "rsa") return { key_bits, signature_bits: type === "ec" ? signatureBits : 0 };
  if (![0, 256, 384, 512].includes(signatureBits)) {
    refuse(`"signature_bits" ${signatureBits} is no size of SHA-2`, "Use 0, 256, 384 or 512.");
  }
  return { key_bits, signature_bits: signatureBits === 0 ? 256 : signatureBits };
}

function commonNameValidations(names: readonly string[]): string[] {
  const lower = [...new Set(names.map((name) => name.toLowerCase()))];
  const unknown = lower.find((name) => !["email", "hostname", "disabled"].includes(name));
  if (unknown !== undefined || (lower.includes("disabled") && lower.length > 1)) {
    refuse(
      `"cn_validations" has ${JSON.stringify(unknown?.slice(0, 80) ?? '"disabled" beside others')}`,
      "Use email, hostname or both, or disabled alone.",
    );
  }
  return lower.length === 0 ? DEFAULT_CN_VALIDATIONS : lower;
}

function assertDates(role: PkiRole): void {
  if (role.not_before !== "") requireDate("not_before", role.not_before);
  if (role.not_after !== "") requireDate("not_after", role.not_after);
  if (!NOT_AFTER_BOUNDS.includes(role.not_after_bound)) requireDate("not_after_bound", role.not_after_bound);
}

function assertPatterns(role: PkiRole): void {
  const { allowed_other_sans: others } = role;
  if (!(others.length === 1 && others[0] === ANY_OTHER_SAN)) {
    for (const other of others) parseOtherSan("allowed_other_sans", other);
  }
  const templates = (field: "allowed_domains" | "allowed_uri_sans"): void => {
    for (const text of role[field].filter(isTemplate)) assertTemplate(field, text);
  };
  if (role.allowed_domains_template) templates("allowed_domains");
  if (role.allowed_uri_sans_template) templates("allowed_uri_sans");
}

function refuse(problem: string, suggestion: string): never {
  throw new RksError("INPUT_INVALID", `role is refused: ${problem}`, { suggestion });
}
