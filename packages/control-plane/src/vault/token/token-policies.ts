import { RksError } from "@rk8s/protocol";

import type { Caller } from "../backend.js";
import { DEFAULT, isAssignable } from "../policy/builtin-policies.js";
import { normalName } from "../policy/policy-store.js";
import { isRoot, ROOT_POLICY } from "./token-entry.js";
import type { TokenRole } from "./token-role.js";

const MAX_POLICIES = 256;

/** What policies a new token is asked to have. */
export interface PolicyWish {
  readonly policies: readonly string[] | undefined;
  readonly noDefaultPolicy: boolean;
  readonly role: TokenRole | undefined;
}

/**
 * Decide which policies a new token gets. A caller without sudo hands on what it has itself and nothing else, unless a
 * role says what may be given; `root` comes from root only.
 * @throws {RksError} PERMISSION_DENIED, INPUT_INVALID
 */
export function choosePolicies(caller: Caller, wish: PolicyWish): readonly string[] {
  const { role } = wish;
  const own = caller.token.entry.policies;
  const wanted = wish.policies === undefined || wish.policies.length === 0 ? undefined : wish.policies;
  const given = wanted ?? (role === undefined ? own : defaultsOf(role, own));
  const names = new Set(given.map(normalName));
  if (names.has(ROOT_POLICY)) return rootPolicies(caller, names, role);
  const refused = [...names].find((name) => !isAssignable(name));
  if (refused !== undefined) throw invalid(`policy "${refused}" cannot be given to a token`);
  const withDefault = !wish.noDefaultPolicy && role?.noDefaultPolicy !== true;
  if (withDefault && !(role !== undefined && isDisallowed(role, DEFAULT))) names.add(DEFAULT);
  if (role !== undefined && isLimiting(role)) assertRoleAllows(role, names);
  else if (!caller.hasSudo) {
    const foreign = [...names].find((name) => name !== DEFAULT && !own.includes(name));
    if (foreign !== undefined) throw denied(`policy "${foreign}" is not one of the caller's own`);
  }
  if (names.size > MAX_POLICIES) throw invalid(`${names.size} policies are too many for a token`);
  return [...names].toSorted();
}

/** Whether a text fits one of the patterns, in which `*` stands for anything. */
export function matchesGlob(patterns: readonly string[], value: string): boolean {
  return patterns.some((pattern) => {
    const parts = pattern.split("*");
    const [first = "", ...rest] = parts;
    const last = rest.pop();
    if (last === undefined) return pattern === value;
    if (!value.startsWith(first) || value.length < first.length + last.length || !value.endsWith(last)) {
      return false;
    }
    let at = first.length;
    const end = value.length - last.length;
    for (const part of rest) {
      const found = value.indexOf(part, at);
      if (found === -1 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  });
}

function rootPolicies(
  caller: Caller,
  names: ReadonlySet<string>,
  role: TokenRole | undefined,
): readonly string[] {
  if (!isRoot(caller.token.entry)) throw denied("only a root token can make a root token");
  if (names.size > 1) throw denied("a root token has no other policies");
  if (role !== undefined && isLimiting(role)) assertRoleAllows(role, names);
  return [ROOT_POLICY];
}

/** What a role gives when nothing is asked for. */
function defaultsOf(role: TokenRole, own: readonly string[]): readonly string[] {
  return role.allowedPolicies.length > 0 ? role.allowedPolicies : own;
}

function isLimiting(role: TokenRole): boolean {
  const { allowedPolicies, allowedPoliciesGlob, disallowedPolicies, disallowedPoliciesGlob } = role;
  return (
    [...allowedPolicies, ...allowedPoliciesGlob, ...disallowedPolicies, ...disallowedPoliciesGlob].length > 0
  );
}

function assertRoleAllows(role: TokenRole, names: ReadonlySet<string>): void {
  const hasAllowed = role.allowedPolicies.length > 0 || role.allowedPoliciesGlob.length > 0;
  for (const name of names) {
    if (isDisallowed(role, name)) throw invalid(`policy "${name}" is disallowed by the role`);
    if (!hasAllowed || name === DEFAULT) continue;
    if (role.allowedPolicies.includes(name) || matchesGlob(role.allowedPoliciesGlob, name)) continue;
    throw invalid(`policy "${name}" is not one of those that the role allows`);
  }
}

function isDisallowed(role: TokenRole, name: string): boolean {
  return role.disallowedPolicies.includes(name) || matchesGlob(role.disallowedPoliciesGlob, name);
}

function denied(message: string): RksError {
  return new RksError("PERMISSION_DENIED", message, { suggestion: "Ask for a token that may do this." });
}

function invalid(message: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion: "Ask for other policies." });
}
