import { compareSpecificity, parsePattern } from "./pattern.js";
import type { Pattern } from "./pattern.js";
import { PrefixList } from "./prefix-list.js";

/** A pattern that matched. */
export interface Match<Value> {
  readonly pattern: Pattern;
  readonly value: Value;
}

/**
 * Values by paths and patterns of policies. Finding the most specific pattern for a path costs its length, not the
 * number of patterns: fixed beginnings are looked up in a sorted list, patterns with `+` in a tree of segments.
 */
export class PatternIndex<Value> {
  readonly #exact: ReadonlyMap<string, Value>;
  readonly #patterns: ReadonlyMap<string, Value>;
  readonly #prefixes: PrefixList<Ranked<Value>>;
  readonly #tree: Node<Value> | undefined;

  /** By path or pattern, as a policy writes it. */
  constructor(entries: ReadonlyMap<string, Value>) {
    const exact: [string, Value][] = [];
    const matches: (Match<Value> & { readonly path: string })[] = [];
    for (const [path, value] of entries) {
      const pattern = parsePattern(path);
      if (pattern === undefined) exact.push([path, value]);
      else matches.push({ path, pattern, value });
    }
    this.#exact = new Map(exact);
    this.#patterns = new Map(matches.map(({ path, value }) => [path, value]));
    const ranked = matches
      .toSorted((a, b) => compareSpecificity(a.pattern, b.pattern))
      .map(({ pattern, value }, rank) => ({ pattern, value, rank }));
    const isFixed = ({ pattern }: Ranked<Value>): boolean => pattern.wildcardSegments === 0;
    this.#prefixes = new PrefixList(ranked.filter(isFixed).map((entry) => [entry.pattern.text, entry]));
    const segmented = ranked.filter((entry) => !isFixed(entry));
    this.#tree = segmented.length === 0 ? undefined : plant(segmented, 0);
  }

  /** What there is for a path or pattern as it was written. */
  written(path: string): Value | undefined {
    return this.#exact.get(path) ?? this.#patterns.get(path);
  }

  /** All paths and patterns as they were written. */
  *entries(): Iterable<readonly [path: string, value: Value]> {
    yield* this.#exact;
    yield* this.#patterns;
  }

  /** What there is for a path without wildcards. */
  exact(path: string): Value | undefined {
    return this.#exact.get(path);
  }

  /** The most specific pattern that matches the path. Paths without wildcards are not asked. */
  best(path: string): Match<Value> | undefined {
    const prefix = this.#prefixes.longest(path);
    return this.#tree === undefined ? prefix : search(this.#tree, path.split("/"), 0, prefix);
  }
}

interface Ranked<Value> extends Match<Value> {
  /** Larger for the more specific of two patterns. */
  readonly rank: number;
}

/** The patterns that agree up to here. */
interface Node<Value> {
  readonly children: ReadonlyMap<string, Node<Value>>;
  readonly any: Node<Value> | undefined;
  /** The pattern that ends here. */
  readonly end: Ranked<Value> | undefined;
  /** Patterns that end with the beginning of the next segment. */
  readonly rests: PrefixList<Ranked<Value>>;
  /** The highest rank here and below. */
  readonly top: number;
}

function plant<Value>(entries: readonly Ranked<Value>[], depth: number): Node<Value> {
  const rests: [string, Ranked<Value>][] = [];
  const below = new Map<string, Ranked<Value>[]>();
  let end: Ranked<Value> | undefined;
  for (const entry of entries) {
    const { segments, isPrefix } = entry.pattern;
    const segment = segments[depth];
    if (segment === undefined) end = entry;
    else if (isPrefix && depth === segments.length - 1) rests.push([segment, entry]);
    else {
      const own = below.get(segment) ?? [];
      own.push(entry);
      below.set(segment, own);
    }
  }
  const nodes = [...below].map(([segment, own]) => [segment, plant(own, depth + 1)] as const);
  return {
    children: new Map(nodes.filter(([segment]) => segment !== "+")),
    any: nodes.find(([segment]) => segment === "+")?.[1],
    end,
    rests: new PrefixList(rests),
    top: entries.reduce((top, { rank }) => Math.max(top, rank), 0),
  };
}

function search<Value>(
  node: Node<Value>,
  parts: readonly string[],
  depth: number,
  best: Ranked<Value> | undefined,
): Ranked<Value> | undefined {
  if (best !== undefined && best.rank >= node.top) return best;
  const part = parts[depth];
  if (part === undefined) return higher(node.end, best);
  let found = higher(node.rests.longest(part), best);
  const child = node.children.get(part);
  if (child !== undefined) found = search(child, parts, depth + 1, found);
  return node.any === undefined ? found : search(node.any, parts, depth + 1, found);
}

function higher<Value>(
  a: Ranked<Value> | undefined,
  b: Ranked<Value> | undefined,
): Ranked<Value> | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.rank > b.rank ? a : b;
}
