import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs, DEFAULT_BACKOFF } from "./backoff.js";

test("a pause is never shorter than the floor and never longer than the cap", () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempt, random) => {
        const pause = backoffMs(attempt, () => random);
        expect(pause).toBeGreaterThanOrEqual(DEFAULT_BACKOFF.floorMs);
        expect(pause).toBeLessThanOrEqual(DEFAULT_BACKOFF.capMs);
      },
    ),
  );
});

test("the longest possible pause doubles until the cap", () => {
  const pauses = [0, 1, 2, 3, 4, 5, 6].map((attempt) => backoffMs(attempt, () => 0.999_999));
  expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});
