import type { Operation } from "../backend.js";
import type { Capability, Policy, PolicyRule } from "./policy.js";

/** Whether a request may go on, and whether it may also use paths that need `sudo`. */
export interface Decision {
  readonly allowed: boolean;
  readonly sudo: boolean;
}

const DENIED: Decision = { allowed: false, sudo: false };
const EVERYTHING: Decision = { allowed: true, sudo: true };

/**
 * What a set of policies allows together. Of all patterns that match a path the most specific one decides; when
 * several policies have that same pattern their capabilities are joined, and `deny` in any of them wins.
 */
export class Acl {
  readonly #isRoot: boolean;
  readonly #exact = new Map<string, Set<Capability>>();
  readonly #patterns = new Map<
    string,
    { readonly pattern: Pattern; readonly capabilities: Set<Capability> }
  >();

  constructor(policies: readonly Policy[], options: { readonly isRoot?: boolean } = {}) {
    this.#isRoot = options.isRoot ?? false;
    for (const { rules } of policies) {
      for (const rule of rules) this.#add(rule);
    }
  }

  /** Judge an operation on a path without a leading slash. */
  decide(operation: Operation, path: string): Decision {
    if (this.#isRoot) return EVERYTHING;
    const capabilities = this.#capabilities(operation, path);
    if (capabilities === undefined || capabilities.has("deny")) return DENIED;
    return { allowed: capabilities.has(operation as Capability), sudo: capabilities.has("sudo") };
  }

  /**
   * A list is asked for a folder: rules for `folder/` come first, also when the request left the slash out (or
   * leaving it out would get around a `deny` on `folder/*`), then rules for `folder`.
   */
  #capabilities(operation: Operation, path: string): Set<Capability> | undefined {
    if (operation !== "list") return this.#exact.get(path) ?? this.#bestPattern(path);
    const file = path.endsWith("/") ? path.slice(0, -1) : path;
    const folder = `${file}/`;
    return (
      this.#exact.get(folder) ?? this.#exact.get(file) ?? this.#bestPattern(folder) ?? this.#bestPattern(file)
    );
  }

  #bestPattern(path: string): Set<Capability> | undefined {
    let best: { readonly pattern: Pattern; readonly capabilities: Set<Capability> } | undefined;
    for (const candidate of this.#patterns.values()) {
      if (!matches(candidate.pattern, path)) continue;
      if (best === undefined || compareSpecificity(candidate.pattern, best.pattern) > 0) best = candidate;
    }
    return best?.capabilities;
  }

  #add({ path, capabilities }: PolicyRule): void {
    const pattern = parsePattern(path);
    let known = pattern === undefined ? this.#exact.get(path) : this.#patterns.get(path)?.capabilities;
    if (known === undefined) {
      known = new Set();
      if (pattern === undefined) this.#exact.set(path, known);
      else this.#patterns.set(path, { pattern, capabilities: known });
    }
    for (const capability of capabilities) known.add(capability);
  }
}

interface Pattern {
  readonly text: string;
  readonly segments: readonly string[];
  /** The last segment is the beginning of any rest. */
  readonly isPrefix: boolean;
  readonly firstWildcard: number;
  readonly wildcardSegments: number;
}

function parsePattern(path: string): Pattern | undefined {
  const isPrefix = path.endsWith("*");
  const text = isPrefix ? path.slice(0, -1) : path;
  const segments = text.split("/");
  const wildcardSegments = segments.filter((segment) => segment === "+").length;
  if (!isPrefix && wildcardSegments === 0) return undefined;
  const before = segments.indexOf("+");
  const firstWildcard =
    before === -1
      ? text.length
      : segments.slice(0, before).reduce((sum, segment) => sum + segment.length + 1, 0);
  return { text, segments, isPrefix, firstWildcard, wildcardSegments };
}

function matches({ text, segments, isPrefix, wildcardSegments }: Pattern, path: string): boolean {
  if (wildcardSegments === 0) return path.startsWith(text);
  const parts = path.split("/");
  if (parts.length < segments.length) return false;
  const last = segments.length - 1;
  for (const [index, segment] of segments.entries()) {
    const part = parts[index] ?? "";
    const isRest = isPrefix && index === last;
    if (segment === "+" || part === segment || (isRest && part.startsWith(segment))) continue;
    return false;
  }
  return isPrefix || parts.length === segments.length;
}

/** Positive when `a` is more specific: Vault's order of wildcard rules. */
function compareSpecificity(a: Pattern, b: Pattern): number {
  if (a.firstWildcard !== b.firstWildcard) return a.firstWildcard - b.firstWildcard;
  if (a.isPrefix !== b.isPrefix) return a.isPrefix ? -1 : 1;
  if (a.wildcardSegments !== b.wildcardSegments) return b.wildcardSegments - a.wildcardSegments;
  if (a.text.length !== b.text.length) return a.text.length - b.text.length;
  return a.text < b.text ? -1 : 1;
}
