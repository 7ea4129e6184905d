import { RksError } from "@rk8s/protocol";

import { hclError, parseHcl } from "./hcl.js";
import type { HclItem, HclValue } from "./hcl.js";
import { MAX_PATTERN_CHARACTERS } from "./pattern.js";
import type { PathTemplate, Policy, PolicyRule } from "./policy.js";
import { isBody, isList, parseRuleBody } from "./rule-parser.js";
import { fillTemplate, parsePathTemplate } from "./template.js";

const MAX_POLICY_BYTES = 128 * 1024;
const MAX_RULES = 1000;

/**
 * Parse a policy document, HCL or JSON. What it says and this vault cannot enforce (fields that it does not have,
 * places of a template that it cannot fill, `*` inside a path) is refused, never ignored: ignoring it would grant more
 * than was written.
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
  if (item.key === "name") {
    if (item.label === undefined && typeof item.value === "string") return [];
    throw hclError(item.line, `"name" is not a text`);
  }
  if (item.key !== "path") throw hclError(item.line, `"${item.key}" is not known here, only "path" is`);
  if (item.label !== undefined) return parseRules(item.label, item.value, item.line);
  // JSON: `"path": { "a": {…}, "b": {…} }` or a list of such objects.
  return alternatives(item.value).flatMap((body) => {
    if (!isBody(body)) throw hclError(item.line, "a path has a name and a block of capabilities");
    return body.items.flatMap((rule) => parseRules(rule.key, rule.value, rule.line));
  });
}

function parseRules(name: string, value: HclValue, line: number): readonly PolicyRule[] {
  const path = name.replace(/^\/+/, "");
  const template = parsePathTemplate(path, line);
  assertPattern(path, template, line);
  return alternatives(value).map((body) => {
    if (!isBody(body)) throw hclError(line, `the path "${path}" has no block of capabilities`);
    const rule = { path, ...parseRuleBody(path, body, line) };
    return template === undefined ? rule : { ...rule, template };
  });
}

function assertPattern(path: string, template: PathTemplate | undefined, line: number): void {
  const form = template === undefined ? path : fillTemplate(template, "x");
  if (form === "") throw hclError(line, "a path is empty");
  if (Math.max(path.length, form.length) > MAX_PATTERN_CHARACTERS) {
    throw hclError(line, `a path is longer than ${MAX_PATTERN_CHARACTERS} characters`);
  }
  if (form.slice(0, -1).includes("*")) {
    throw hclError(line, `"*" is possible only at the end of the path "${path}"`);
  }
  if (form.includes("+*")) throw hclError(line, `"+*" in the path "${path}" is not possible`);
}

/** JSON may give several objects in a list where HCL repeats a block. */
function alternatives(value: HclValue): readonly HclValue[] {
  return isList(value) ? value : [value];
}
