import { RksError } from "@rk8s/protocol";

import { hclError, parseHcl } from "./hcl.js";
import type { HclBody, HclItem, HclValue } from "./hcl.js";
import { CAPABILITIES } from "./policy.js";
import type { Capability, Policy, PolicyRule } from "./policy.js";
import { canonicalPatterns } from "../request-path.js";

const MAX_POLICY_BYTES = 128 * 1024;
const MAX_RULES = 1000;

/** Vault's older shorthand for capabilities. */
const LEGACY = new Map<string, readonly Capability[]>([
  ["deny", ["deny"]],
  ["read", ["read", "list"]],
  ["write", ["create", "read", "update", "delete", "list"]],
  ["sudo", ["create", "read", "update", "delete", "list", "sudo"]],
]);

/**
 * Parse a policy document, HCL or JSON. What a rule says and this vault cannot enforce (parameters, wrapping,
 * templates, `*` inside a path) is refused, never ignored: ignoring it would grant more than was written.
 * @throws {RksError} INPUT_INVALID with the line
 */
export function parsePolicy(text: string): Policy {
  if (Buffer.byteLength(text) > MAX_POLICY_BYTES) {
    throw new RksError("INPUT_INVALID", `a policy is at most ${MAX_POLICY_BYTES} bytes long`, {
      suggestion: "Split it into several policies.",
    });
  }
  const rules = policyItems(text).flatMap(parseItem);
  if (rules.length > MAX_RULES) {
    throw new RksError("INPUT_INVALID", `a policy has at most ${MAX_RULES} rules, not ${rules.length}`, {
      suggestion: "Split it into several policies.",
    });
  }
  return { rules };
}

/** A JSON policy is an HCL document in braces. */
function policyItems(text: string): readonly HclItem[] {
  const trimmed = text.trim();
  if (!trimmed.startsWith("{")) return parseHcl(text).items;
  const [whole, more] = parseHcl(`policy = ${trimmed}`).items;
  if (more !== undefined) throw hclError(more.line, "something follows the JSON document");
  return whole !== undefined && isBody(whole.value) ? whole.value.items : [];
}

function parseItem(item: HclItem): readonly PolicyRule[] {
  if (item.key === "name") return [];
  if (item.key !== "path") throw hclError(item.line, `"${item.key}" is not known here, only "path" is`);
  if (item.label !== undefined) return parseRule(item.label, item.value, item.line);
  // JSON: `"path": { "a": {…}, "b": {…} }` or a list of such objects.
  const bodies = Array.isArray(item.value) ? (item.value as readonly HclValue[]) : [item.value];
  return bodies.flatMap((body) => {
    if (!isBody(body)) throw hclError(item.line, "a path has a name and a block of capabilities");
    return body.items.flatMap((rule) => parseRule(rule.key, rule.value, rule.line));
  });
}

function parseRule(name: string, value: HclValue, line: number): readonly PolicyRule[] {
  const path = name.replace(/^\/+/, "");
  assertPattern(path, line);
  const bodies = Array.isArray(value) ? (value as readonly HclValue[]) : [value];
  const capabilities = new Set<Capability>();
  for (const body of bodies) {
    if (!isBody(body)) throw hclError(line, `the path "${path}" has no block of capabilities`);
    for (const item of body.items) {
      for (const capability of parseCapabilities(path, item)) capabilities.add(capability);
    }
  }
  return canonicalPatterns(path).map((pattern) => ({ path: pattern, capabilities }));
}

function assertPattern(path: string, line: number): void {
  if (path === "") throw hclError(line, "a path is empty");
  if (path.includes("{{")) throw hclError(line, `the path "${path}" is a template, which is not possible`);
  if (path.slice(0, -1).includes("*"))
    throw hclError(line, `"*" is possible only at the end of the path "${path}"`);
  if (path.includes("+*")) throw hclError(line, `"+*" in the path "${path}" is not possible`);
}

function parseCapabilities(path: string, { key, value, line }: HclItem): readonly Capability[] {
  if (key === "capabilities") {
    const names = Array.isArray(value) ? (value as readonly HclValue[]) : [value];
    return names.map((name) => {
      const known = CAPABILITIES.find((capability) => capability === name);
      if (known === undefined) {
        throw hclError(
          line,
          `${JSON.stringify(name)} is not a capability; there are ${CAPABILITIES.join(", ")}`,
        );
      }
      return known;
    });
  }
  const legacy = key === "policy" && typeof value === "string" ? LEGACY.get(value) : undefined;
  if (legacy === undefined) throw hclError(line, `"${key}" of the path "${path}" is not possible`);
  return legacy;
}

function isBody(value: HclValue): value is HclBody {
  return typeof value === "object" && "items" in value;
}
