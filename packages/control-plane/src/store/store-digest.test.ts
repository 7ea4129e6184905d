import { expect, test } from "vitest";
import { addTotals, EMPTY_TOTAL, formatSum, StoreDigest } from "./store-digest.js";

const digest = new StoreDigest(new Uint8Array(32).fill(7));
const entry = (key: string, value: string): { key: string; value: Uint8Array } => ({
  key,
  value: Buffer.from(value),
});

test("the sum does not depend on order or on how the entries are split up", () => {
  const all = digest.total([entry("a", "1"), entry("b", "2"), entry("c", "3")]);
  const parts = [[entry("c", "3")], [], [entry("b", "2"), entry("a", "1")]];
  const summed = parts.reduce((sum, part) => addTotals(sum, digest.total(part)), EMPTY_TOTAL);
  expect(summed).toEqual(all);
  expect(all).toMatchObject({ entries: 3, bytes: 6 });
});

test.each([
  { name: "another value", entries: [entry("a", "1"), entry("b", "3")] },
  { name: "values changed over", entries: [entry("a", "2"), entry("b", "1")] },
  { name: "a byte moved from key to value", entries: [entry("a", "1"), entry("", "b2")] },
  { name: "an entry less", entries: [entry("a", "1")] },
  { name: "an entry twice", entries: [entry("a", "1"), entry("b", "2"), entry("b", "2")] },
])("$name gives another sum", ({ entries }) => {
  const original = digest.total([entry("a", "1"), entry("b", "2")]);
  expect(digest.total(entries).sum).not.toBe(original.sum);
});

test("another key gives another sum, and a sum always has 64 digits", () => {
  const entries = [entry("a", "1")];
  const other = new StoreDigest(new Uint8Array(32).fill(8));
  expect(other.total(entries).sum).not.toBe(digest.total(entries).sum);
  expect(formatSum(EMPTY_TOTAL)).toBe("0".repeat(64));
  expect(formatSum(digest.total(entries))).toMatch(/^[0-9a-f]{64}$/);
});
