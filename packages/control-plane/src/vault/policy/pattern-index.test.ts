import fc from "fast-check";
import { expect, test } from "vitest";

import { compareSpecificity, parsePattern } from "./pattern.js";
import type { Pattern } from "./pattern.js";
import { PatternIndex } from "./pattern-index.js";
import { PrefixList } from "./prefix-list.js";

/** One pattern at a time, as the rules of the language say it. */
function matches({ segments, isPrefix }: Pattern, path: string): boolean {
  const parts = path.split("/");
  const last = segments.length - 1;
  const hasParts = isPrefix ? parts.length >= segments.length : parts.length === segments.length;
  return (
    hasParts &&
    segments.every((segment, index) => {
      const part = parts[index] ?? "";
      return segment === "+" || part === segment || (isPrefix && index === last && part.startsWith(segment));
    })
  );
}

function bestOfAll(paths: readonly string[], path: string): string | undefined {
  const found = paths.flatMap((written) => {
    const pattern = parsePattern(written);
    return pattern !== undefined && matches(pattern, path) ? [{ written, pattern }] : [];
  });
  return found.toSorted((a, b) => compareSpecificity(a.pattern, b.pattern)).at(-1)?.written;
}

const part = fc.constantFrom("", "a", "b", "ab", "abc", "+a", "é");
const requested = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("/"));
const written = fc
  .tuple(fc.array(fc.oneof(part, fc.constant("+")), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([parts, isPrefix]) => {
    const path = parts.join("/");
    return isPrefix && !path.endsWith("+") ? `${path}*` : path;
  });

test("the index finds what a search through all patterns finds", () => {
  fc.assert(
    fc.property(fc.uniqueArray(written, { maxLength: 40 }), requested, (paths, path) => {
      const index = new PatternIndex(new Map(paths.map((one) => [one, one])));
      expect(index.best(path)?.value).toBe(bestOfAll(paths, path));
      const isExact = paths.includes(path) && parsePattern(path) === undefined;
      expect(index.exact(path)).toBe(isExact ? path : undefined);
      expect(new Set(index.entries())).toEqual(new Set(paths.map((one) => [one, one])));
    }),
    { numRuns: 500 },
  );
});

test("a pattern is no exact path, also for a path that is spelled like it", () => {
  const index = new PatternIndex(
    new Map([
      ["a/*", 1],
      ["a/+", 2],
      ["a/b", 3],
    ]),
  );
  expect(["a/*", "a/+", "a/b"].map((path) => index.exact(path))).toEqual([undefined, undefined, 3]);
  expect(["a/*", "a/+", "a/b"].map((path) => index.written(path))).toEqual([1, 2, 3]);
});

test("the longest beginning is found among any texts", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "/", "\u{1F600}", "\uFFFD"), maxLength: 8 });
  fc.assert(
    fc.property(fc.uniqueArray(text, { maxLength: 30 }), text, (texts, whole) => {
      const list = new PrefixList(texts.map((one) => [one, one]));
      const longest = texts.filter((one) => whole.startsWith(one)).toSorted((a, b) => a.length - b.length);
      expect(list.longest(whole)).toBe(longest.at(-1));
    }),
  );
});

test("thousands of patterns are found as fast as few, the nastiest included", () => {
  const nasty = Array.from({ length: 1000 }, (_, i) => {
    const bits = i.toString(2).padStart(10, "0");
    return `${bits.replaceAll("0", "a/").replaceAll("1", "+/")}${i}`;
  });
  const nested = Array.from({ length: 500 }, (_, i) => `${"b".repeat(i)}*`);
  const index = new PatternIndex(new Map([...nasty, ...nested].map((one) => [one, one])));
  const path = `${"a/".repeat(10)}none`;
  const start = process.cpuUsage();
  for (let round = 0; round < 500; round++) {
    expect(index.best(path)?.value).toBe("*");
    expect(index.best(`${"b".repeat(499)}a`)?.value).toBe(`${"b".repeat(499)}*`);
  }
  expect(process.cpuUsage(start).user).toBeLessThan(2_000_000);
});
