import fc from "fast-check";
import { expect, test } from "vitest";

import { matchesGlob } from "./glob.js";

test.each([
  { pattern: "a", text: "a", fits: true },
  { pattern: "a", text: "ab", fits: false },
  { pattern: "*", text: "", fits: true },
  { pattern: "a*", text: "a", fits: true },
  { pattern: "*b", text: "ab", fits: true },
  { pattern: "a*b*c", text: "abc", fits: true },
  { pattern: "ab*bc", text: "abc", fits: false },
  { pattern: "a*a", text: "a", fits: false },
  { pattern: "*.example.org", text: "a.b.example.org", fits: true },
  { pattern: "a.c", text: "abc", fits: false },
])("$pattern and $text: $fits", ({ pattern, text, fits }) => {
  expect(matchesGlob(pattern, text)).toBe(fits);
});

test("a pattern fits exactly what the same regular expression fits", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "b", "*", "."), maxLength: 8 });
  fc.assert(
    fc.property(word, fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 12 }), (pattern, text) => {
      const expression = pattern.replaceAll(".", String.raw`\.`).replaceAll(/\*+/g, "[^]*");
      expect(matchesGlob(pattern, text)).toBe(new RegExp(`^${expression}$`, "u").test(text));
    }),
  );
});
