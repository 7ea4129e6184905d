import { parseDuration } from "@rk8s/protocol";

import { hclError } from "./hcl.js";
import type { HclBody, HclItem, HclValue } from "./hcl.js";
import { ANY_FIELD, CAPABILITIES } from "./policy.js";
import type { Capability, ParameterRules, ParameterValue, PolicyRule } from "./policy.js";

/** Vault's older shorthand for capabilities. */
const LEGACY: ReadonlyMap<string, readonly Capability[]> = new Map([
  ["deny", ["deny"]],
  ["read", ["read", "list"]],
  ["write", ["create", "read", "update", "delete", "list"]],
  ["sudo", ["create", "read", "update", "delete", "list", "sudo"]],
]);

/** Ten years: longer than any answer is kept. */
const MAX_WRAP_TTL_SECONDS = 10 * 366 * 86_400;

/**
 * Parse the block of a rule. Fields that this vault does not enforce are refused, never ignored: ignoring one would
 * grant more than was written.
 * @throws {RksError} INPUT_INVALID with the line and the field
 */
export function parseRuleBody(
  path: string,
  body: HclBody,
  line: number,
): Omit<PolicyRule, "path" | "template"> {
  const fields = fieldsOf(body, `path "${path}"`);
  const capabilities = new Set<Capability>();
  const limits: Limits = {};
  for (const item of fields.values()) {
    if (item.label !== undefined)
      throw hclError(item.line, `"${item.key}" of the path "${path}" has a label`);
    switch (item.key) {
      case "capabilities":
        for (const name of listOf(item.value)) capabilities.add(parseCapability(name, item.line));
        break;
      case "policy":
        for (const capability of parseLegacy(path, item)) capabilities.add(capability);
        break;
      case "allowed_parameters":
        limits.allowedParameters = parseParameters(item);
        break;
      case "denied_parameters":
        limits.deniedParameters = parseParameters(item);
        break;
      case "required_parameters":
        limits.requiredParameters = parseNames(item);
        break;
      case "min_wrapping_ttl":
        limits.minWrapTtlSeconds = parseTtl(item);
        break;
      case "max_wrapping_ttl":
        limits.maxWrapTtlSeconds = parseTtl(item);
        break;
      case "comment":
        if (typeof item.value !== "string") throw hclError(item.line, `"comment" is not a text`);
        break;
      default:
        throw hclError(item.line, `"${item.key}" of the path "${path}" is not possible`);
    }
  }
  const { minWrapTtlSeconds: min = 0, maxWrapTtlSeconds: max = 0 } = limits;
  if (max > 0 && min > max) {
    throw hclError(
      fields.get("min_wrapping_ttl")?.line ?? line,
      `"min_wrapping_ttl" of the path "${path}" is longer than "max_wrapping_ttl"`,
    );
  }
  return { capabilities, ...limits };
}

/** What a rule is about besides its path and capabilities, while it is read. */
type Limits = {
  -readonly [Name in keyof Omit<PolicyRule, "path" | "template" | "capabilities">]: PolicyRule[Name];
};

function parseCapability(name: HclValue, line: number): Capability {
  const known = CAPABILITIES.find((capability) => capability === name);
  if (known !== undefined) return known;
  throw hclError(line, `${shown(name)} is not a capability; there are ${CAPABILITIES.join(", ")}`);
}

function parseLegacy(path: string, { value, line }: HclItem): readonly Capability[] {
  const capabilities = typeof value === "string" ? LEGACY.get(value) : undefined;
  if (capabilities !== undefined) return capabilities;
  throw hclError(line, `"policy" of the path "${path}" is ${shown(value)}, not read, write, sudo or deny`);
}

function parseParameters({ key, value, line }: HclItem): ParameterRules {
  if (!isBody(value)) throw hclError(line, `"${key}" is not a block of names and lists of values`);
  const rules = new Map<string, readonly ParameterValue[]>();
  for (const item of fieldsOf(value, `"${key}"`).values()) {
    const name = item.key.toLowerCase();
    if (rules.has(name)) throw hclError(item.line, `"${item.key}" stands twice in "${key}"`);
    if (item.label !== undefined) throw hclError(item.line, `"${item.key}" in "${key}" has a label`);
    const values = listOf(item.value).map((one) => toParameterValue(one, item.line));
    if (name === ANY_FIELD && values.length > 0) {
      throw hclError(item.line, `"*" in "${key}" is every field and cannot have values`);
    }
    rules.set(name === ANY_FIELD ? name : parameterName(key, name, item.line), values);
  }
  return rules;
}

function parseNames({ key, value, line }: HclItem): readonly string[] {
  return listOf(value).map((name) => parameterName(key, name, line).toLowerCase());
}

/** A name that is meant as a pattern would match nothing. */
function parameterName(key: string, name: HclValue, line: number): string {
  if (typeof name === "string" && name !== "" && !name.includes("*")) return name;
  throw hclError(line, `"${key}" has ${shown(name)}, not the name of a field`);
}

/** Seconds, as a number or text, or a text like `10m`. */
function parseTtl({ key, value, line }: HclItem): number {
  const seconds = typeof value === "string" ? secondsOf(value) : value;
  const isPossible = typeof seconds === "number" && Number.isSafeInteger(seconds) && seconds >= 0;
  if (isPossible && seconds <= MAX_WRAP_TTL_SECONDS) return seconds;
  throw hclError(line, `"${key}" is ${shown(value)}, not a duration like 90, "90s" or "1h30m"`);
}

function secondsOf(text: string): number | undefined {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  try {
    return parseDuration(text);
  } catch {
    return undefined;
  }
}

function toParameterValue(value: HclValue, line: number): ParameterValue {
  if (typeof value === "string" && /\{\{\s*(?:identity|time)\./.test(value)) {
    throw hclError(line, `the value ${shown(value)} is a template, which only paths can be`);
  }
  if (typeof value !== "object" || value === null) return value;
  if (!isBody(value)) return value.map((item) => toParameterValue(item, line));
  const members = [...fieldsOf(value, "a value")].map(([name, item]) => {
    if (item.label !== undefined) throw hclError(item.line, `"${name}" in a value has a label`);
    return [name, toParameterValue(item.value, item.line)] as const;
  });
  return Object.fromEntries(members);
}

/** The items of a block by name, none twice: which of the two would count is anybody's guess. */
function fieldsOf({ items }: HclBody, place: string): ReadonlyMap<string, HclItem> {
  const fields = new Map<string, HclItem>();
  for (const item of items) {
    if (fields.has(item.key)) throw hclError(item.line, `"${item.key}" stands twice in ${place}`);
    fields.set(item.key, item);
  }
  return fields;
}

/** One value counts as a list of it. */
function listOf(value: HclValue): readonly HclValue[] {
  return isList(value) ? value : [value];
}

export function isBody(value: HclValue): value is HclBody {
  return typeof value === "object" && value !== null && "items" in value;
}

export function isList(value: HclValue): value is readonly HclValue[] {
  return Array.isArray(value);
}

function shown(value: HclValue): string {
  return JSON.stringify(value).slice(0, 60);
}
