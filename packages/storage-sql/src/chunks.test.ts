import { expect, test } from "vitest";

import { chunksOf } from "./chunks.js";

const MIB = 1024 * 1024;
const rows = (...sizes: (number | null)[]): { entry_value: Uint8Array | null }[] =>
  sizes.map((size) => ({ entry_value: size === null ? null : new Uint8Array(size) }));
const sizes = (given: (number | null)[]): number[] =>
  [...chunksOf(rows(...given))].map((chunk) => chunk.length);

test.each([
  { name: "nothing", given: [], expected: [] },
  { name: "a deletion", given: [null], expected: [1] },
  { name: "what just fits", given: [MIB, MIB], expected: [2] },
  { name: "one byte more", given: [MIB, MIB, 1], expected: [2, 1] },
  { name: "one that is too large alone", given: [1, 3 * MIB, 1], expected: [1, 1, 1] },
  { name: "501 small ones", given: Array.from({ length: 501 }, () => 1), expected: [500, 1] },
])("$name becomes $expected.length statements", ({ given, expected }) => {
  expect(sizes(given)).toEqual(expected);
});
