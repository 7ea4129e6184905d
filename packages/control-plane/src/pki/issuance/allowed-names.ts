import { RksError } from "@rk8s/protocol";
import { isInNetwork } from "../../vault/cidr.js";
import {
  assertAlternativeNames,
  assertCommonName,
  fillTemplates,
  matchesGlob,
  nameRules,
} from "../name-rules.js";
import type { TemplateSource } from "../role/identity-template.js";
import { ANY_OTHER_SAN, parseOtherSan } from "../role/other-sans.js";
import type { PkiRole } from "../role/role-fields.js";
import type { RequestedNames } from "./requested-names.js";

/** Whom a role is asked by. */
export interface NameContext {
  readonly roleName: string;
  readonly caller: TemplateSource;
}

/**
 * Check everything that a certificate would say of its subject by a role, wherever it stood.
 * @throws {RksError} ROLE_REFUSED naming the rule that refused it and what would allow it; INPUT_INVALID when the role needs a
 * common name and there is none.
 */
export function assertNamesAllowed(names: RequestedNames, role: PkiRole, context: NameContext): void {
  const { roleName, caller } = context;
  const { commonName, dnsNames, emails, uris } = names;
  const rules = nameRules(role, caller);
  if (commonName === "" && role.require_cn) {
    throw new RksError("INPUT_INVALID", `a common name is needed by role "${roleName}"`, {
      suggestion: "Give common_name, or set require_cn=false on the role.",
    });
  }
  if (commonName !== "") assertCommonName(commonName, rules, roleName);
  const allNames = [...dnsNames, ...emails];
  assertAlternativeNames(allNames, rules, { roleName, allNames });
  assertIpAddresses(names.ipAddresses, role, roleName);
  if (uris.length > 0) assertUris(uris, role, context);
  assertOtherNames(names.otherNames, role, roleName);
  assertSerialNumber(names.serialNumber, role, roleName);
  assertUserIds(names.userIds, role, roleName);
}

function assertIpAddresses(addresses: readonly string[], role: PkiRole, roleName: string): void {
  const { allow_ip_sans: allowed, allowed_ip_sans_cidr: networks } = role;
  const [first] = addresses;
  if (first === undefined) return;
  if (!allowed) {
    refuse("IP address", first, roleName, "allow_ip_sans is off", "Set allow_ip_sans=true on the role.");
  }
  if (networks.length === 0) return;
  const outside = addresses.find((address) => !networks.some((network) => isInNetwork(address, network)));
  if (outside === undefined) return;
  const rule = `allowed_ip_sans_cidr (${shown(networks)}) has no network for it`;
  refuse("IP address", outside, roleName, rule, "Add its network to the role's allowed_ip_sans_cidr.");
}

function assertUris(uris: readonly string[], role: PkiRole, { roleName, caller }: NameContext): void {
  const { filled, unfilled } = role.allowed_uri_sans_template
    ? fillTemplates(role.allowed_uri_sans, role, caller)
    : { filled: role.allowed_uri_sans, unfilled: [] };
  const refused = uris.find((uri) => !filled.some((pattern) => matchesGlob(pattern, uri)));
  if (refused === undefined) return;
  const [template] = unfilled;
  if (template !== undefined) {
    const rule = `allowed_uri_sans has ${JSON.stringify(template.slice(0, 200))}, which the caller's identity does not fill in`;
    refuse(
      "URI",
      refused,
      roleName,
      rule,
      "Give the caller's entity or token the value that the template names.",
    );
  }
  const rule = `allowed_uri_sans (${shown(filled)}) has no pattern for it`;
  refuse("URI", refused, roleName, rule, "Add it, or a pattern with *, to the role's allowed_uri_sans.");
}

function assertOtherNames(names: RequestedNames["otherNames"], role: PkiRole, roleName: string): void {
  const { allowed_other_sans: allowed } = role;
  if (names.length === 0 || (allowed.length === 1 && allowed[0] === ANY_OTHER_SAN)) return;
  const patterns = allowed.map((text) => parseOtherSan("allowed_other_sans", text));
  const refused = names.find(
    ({ type, value }) =>
      !patterns.some((pattern) => pattern.type === type && matchesGlob(pattern.value, value)),
  );
  if (refused === undefined) return;
  const rule = `allowed_other_sans (${shown(allowed)}) has no pattern for it`;
  const text = `${refused.type};UTF8:${refused.value}`;
  refuse(
    "other name",
    text,
    roleName,
    rule,
    "Add it, or a pattern with *, to the role's allowed_other_sans.",
  );
}

function assertSerialNumber(serialNumber: string, role: PkiRole, roleName: string): void {
  const { allowed_serial_numbers: allowed } = role;
  if (serialNumber === "" || allowed.some((pattern) => matchesGlob(pattern, serialNumber))) return;
  const rule = `allowed_serial_numbers (${shown(allowed)}) has no pattern for it`;
  const remedy = "Add it, or a pattern with *, to the role's allowed_serial_numbers.";
  refuse("serial_number", serialNumber, roleName, rule, remedy);
}

function assertUserIds(userIds: readonly string[], role: PkiRole, roleName: string): void {
  const { allowed_user_ids: allowed } = role;
  const refused = userIds.find(
    (id) =>
      !allowed.some((pattern) => pattern.toLowerCase() === id.toLowerCase() || matchesGlob(pattern, id)),
  );
  if (refused === undefined) return;
  const rule = `allowed_user_ids (${shown(allowed)}) has no pattern for it`;
  refuse("user id", refused, roleName, rule, "Add it, or a pattern with *, to the role's allowed_user_ids.");
}

function shown(patterns: readonly string[]): string {
  return patterns.join(", ").slice(0, 200) || "none";
}

function refuse(what: string, value: string, roleName: string, rule: string, remedy: string): never {
  throw new RksError(
    "ROLE_REFUSED",
    `${what} ${JSON.stringify(value.slice(0, 260))} is not allowed by role "${roleName}": ${rule}`,
    { suggestion: remedy },
  );
}
