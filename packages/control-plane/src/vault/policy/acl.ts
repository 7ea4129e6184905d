import { canonicalCase, canonicalPatterns, MAX_PATH_CHARACTERS } from "../request-path.js";
import type { JsonObject, Operation } from "../backend.js";
import type { Denial } from "./denial.js";
import { compareSpecificity, parsePattern } from "./pattern.js";
import { PatternIndex } from "./pattern-index.js";
import type { Match } from "./pattern-index.js";
import { type Asked, Permissions } from "./permissions.js";
import type { Policy, PolicyRule } from "./policy.js";

/** What is judged of a request. */
export interface AclRequest {
  readonly operation: Operation;
  /** Without a leading slash, in its one spelling but with the trailing slash that it may have had (`canonicalPath`). */
  readonly path: string;
  /** Body or query, as it came. */
  readonly data?: JsonObject | undefined;
  /** How long the wrapped answer is to be kept; undefined when it is not to be wrapped. */
  readonly wrapTtlSeconds?: number | undefined;
}

/** Whether a request may go on, and whether it may also use paths that need `sudo`. */
export type Decision =
  | {
      readonly allowed: true;
      readonly sudo: boolean;
      /** No rule speaks of the path without its trailing slash: what is there is not given. */
      readonly onlyWithSlash?: true;
    }
  | { readonly allowed: false; readonly sudo: boolean; readonly denial: Denial };

export interface AclOptions {
  readonly isRoot?: boolean;
  /** What is allowed already; the policies' rules come on top as if all had been given together. */
  readonly base?: Acl;
}

const EVERYTHING: Decision = { allowed: true, sudo: true };
const HELP: Decision = { allowed: true, sudo: false };
const NO_RULE: Decision = { allowed: false, sudo: false, denial: "no-rule" };
const NO_DATA: JsonObject = {};

/**
 * What a set of policies allows together. Of all patterns that match a path the most specific one decides; when
 * several rules have that same pattern they are joined. Templated rules count for nothing: fill them in before.
 */
export class Acl {
  readonly #isRoot: boolean;
  /** Each layer has what it and all behind it say of a pattern. */
  readonly #layers: readonly PatternIndex<Permissions>[];

  constructor(policies: readonly Policy[], { isRoot = false, base }: AclOptions = {}) {
    this.#isRoot = isRoot;
    const below = base === undefined ? [] : base.#layers;
    const rules = new Map<string, PolicyRule[]>();
    for (const rule of policies.flatMap((policy) => policy.rules)) {
      if (rule.template !== undefined) continue;
      for (const pattern of canonicalPatterns(rule.path)) {
        const known = rules.get(pattern) ?? [...rulesOf(below, pattern)];
        known.push(rule);
        rules.set(pattern, known);
      }
    }
    const permissions = [...rules].map(([pattern, own]) => [pattern, new Permissions(own)] as const);
    this.#layers = [new PatternIndex(new Map(permissions)), ...below];
  }

  /**
   * Judge a request. `help` is everybody's. The wrapping time and the fields are judged where a rule limits them, the
   * fields of a list or delete never.
   *
   * Other than for lists, a path with a trailing slash is judged with it. Since it leads to the same thing as without,
   * the rule for the path without it must allow the request too: nobody gets around a narrower rule by adding a slash,
   * and a rule for `a/*` does not give `a`. Where there is no such rule the decision says so.
   */
  decide({ operation, path, data = NO_DATA, wrapTtlSeconds }: AclRequest): Decision {
    if (this.#isRoot) return EVERYTHING;
    if (operation === "help") return HELP;
    const asked = { operation, data, wrapTtlSeconds };
    if (isListing(operation)) return judge(this.#forFolder(path), asked);
    const decision = judge(this.#forPath(path), asked);
    if (!decision.allowed || !path.endsWith("/")) return decision;
    const plain = this.#forPath(path.slice(0, -1));
    if (plain === undefined) return { ...decision, onlyWithSlash: true };
    const other = judge(plain, asked);
    return { ...other, sudo: decision.sudo && other.sudo };
  }

  /**
   * The capabilities on a path in the order of the alphabet: `["root"]` for root, `["deny"]` for none. A path with a
   * trailing slash is asked for as the folder that a list names; of one without, `list` and `scan` are said only where
   * a list of it is allowed as well.
   */
  capabilities(path: string): string[] {
    if (this.#isRoot) return ["root"];
    const asked = canonicalCase(path.replace(/^\/+/, ""));
    if (asked.length > MAX_PATH_CHARACTERS) return ["deny"];
    const isFolder = asked.endsWith("/");
    const granted = (isFolder ? this.#forFolder(asked) : this.#forPath(asked))?.capabilities() ?? [];
    const possible = granted.filter(
      (name) =>
        isFolder || (name !== "list" && name !== "scan") || this.#forFolder(asked)?.has(name) === true,
    );
    return possible.length === 0 ? ["deny"] : possible;
  }

  /** What clients with a user interface read to know what to show; patterns with `+` have no place in its form. */
  describe(): JsonObject {
    if (this.#isRoot) return { root: true };
    const exact = new Map<string, JsonObject>();
    const glob = new Map<string, JsonObject>();
    for (const layer of this.#layers.toReversed()) {
      for (const [path, permissions] of layer.entries()) {
        const capabilities = permissions.capabilities();
        const shown = { capabilities: capabilities.length === 0 ? ["deny"] : capabilities };
        const pattern = parsePattern(path);
        if (pattern === undefined) exact.set(path, shown);
        else if (pattern.wildcardSegments === 0) glob.set(pattern.text, shown);
      }
    }
    return { root: false, exact_paths: Object.fromEntries(exact), glob_paths: Object.fromEntries(glob) };
  }

  /** Whether anything may be done at a folder, with trailing slash, or below it; a closer look may still find a `deny`. */
  reaches(folder: string): boolean {
    if (this.#isRoot || !isDenied(this.capabilities(folder))) return true;
    return this.#layers.some((layer) =>
      [...layer.entries()].some(
        ([path, permissions]) => !isDenied(permissions.capabilities()) && mayBeBelow(path, folder),
      ),
    );
  }

  #forPath(path: string): Permissions | undefined {
    return this.#exact(path) ?? this.#best(path);
  }

  /**
   * A list is asked for a folder: rules for `folder/` come first, also when the request left the slash out (or
   * leaving it out would get around a `deny` on `folder/*`: GHSA-xp3c-3jw3-4vcr), then rules for `folder`.
   */
  #forFolder(path: string): Permissions | undefined {
    const file = path.endsWith("/") ? path.slice(0, -1) : path;
    const folder = `${file}/`;
    return this.#exact(folder) ?? this.#exact(file) ?? this.#best(folder) ?? this.#best(file);
  }

  #exact(path: string): Permissions | undefined {
    for (const layer of this.#layers) {
      const permissions = layer.exact(path);
      if (permissions !== undefined) return permissions;
    }
    return undefined;
  }

  #best(path: string): Permissions | undefined {
    let best: Match<Permissions> | undefined;
    for (const layer of this.#layers) {
      const found = layer.best(path);
      // Of one pattern in two layers the first says it all.
      if (found === undefined) continue;
      if (best === undefined || compareSpecificity(found.pattern, best.pattern) > 0) best = found;
    }
    return best?.value;
  }
}

function judge(permissions: Permissions | undefined, asked: Asked): Decision {
  if (permissions === undefined) return NO_RULE;
  const denial = permissions.judge(asked);
  const sudo = permissions.has("sudo");
  return denial === undefined ? { allowed: true, sudo } : { allowed: false, sudo, denial };
}

function rulesOf(layers: readonly PatternIndex<Permissions>[], pattern: string): readonly PolicyRule[] {
  for (const layer of layers) {
    const permissions = layer.written(pattern);
    if (permissions !== undefined) return permissions.rules;
  }
  return [];
}

function isDenied(capabilities: readonly string[]): boolean {
  return capabilities.every((name) => name === "deny");
}

/** Whether a pattern of a policy can match something at or below a folder. */
function mayBeBelow(pattern: string, folder: string): boolean {
  const isPrefix = pattern.endsWith("*");
  const own = (isPrefix ? pattern.slice(0, -1) : pattern).split("/");
  const last = own.length - 1;
  for (const [index, part] of folder.slice(0, -1).split("/").entries()) {
    const segment = own[index] ?? "";
    if (index >= last) return index === last && isPrefix && part.startsWith(segment);
    if (segment !== "+" && segment !== part) return false;
  }
  return true;
}

function isListing(operation: Operation): boolean {
  return operation === "list" || operation === "scan";
}
