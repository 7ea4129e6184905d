/** Longer patterns are refused: no path that is asked for is as long. */
export const MAX_PATTERN_CHARACTERS = 1024;

/** A path of a policy that has `+` for any one segment or `*` at its end for any rest. */
export interface Pattern {
  /** Without the `*`. */
  readonly text: string;
  readonly segments: readonly string[];
  /** The last segment is the beginning of any rest. */
  readonly isPrefix: boolean;
  readonly firstWildcard: number;
  readonly wildcardSegments: number;
}

/** Take a policy's path apart; undefined when it has no wildcard and stands for itself. */
export function parsePattern(path: string): Pattern | undefined {
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

/** Positive when `a` is more specific than `b`, in Vault's order of wildcard rules; 0 for one and the same pattern. */
export function compareSpecificity(a: Pattern, b: Pattern): number {
  if (a.firstWildcard !== b.firstWildcard) return a.firstWildcard - b.firstWildcard;
  if (a.isPrefix !== b.isPrefix) return a.isPrefix ? -1 : 1;
  if (a.wildcardSegments !== b.wildcardSegments) return b.wildcardSegments - a.wildcardSegments;
  if (a.text.length !== b.text.length) return a.text.length - b.text.length;
  if (a.text === b.text) return 0;
  return a.text < b.text ? -1 : 1;
}
