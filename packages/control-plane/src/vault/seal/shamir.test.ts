import fc from "fast-check";
import { expect, test } from "vitest";

import { randomKey } from "./keyring.js";
import { combineShares, isPossibleSplit, SHARE_BYTES, splitKey } from "./shamir.js";

test("any threshold of the shares in any order gives the key", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc
        .integer({ min: 2, max: 12 })
        .chain((shares) => fc.tuple(fc.constant(shares), fc.integer({ min: 2, max: shares }))),
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      async ([count, threshold], order) => {
        const key = randomKey();
        const shares = await splitKey(key, count, threshold);
        expect(shares.every((share) => share.byteLength === SHARE_BYTES)).toBe(true);
        const shuffled = shares
          .map((share) => ({ share, at: order.next().value as number }))
          .toSorted((a, b) => a.at - b.at)
          .map(({ share }) => share);
        expect(await combineShares(shuffled.slice(0, threshold))).toEqual(key);
        const tooFew = await combineShares(shuffled.slice(0, threshold - 1));
        expect(Buffer.from(tooFew ?? []).equals(key)).toBe(false);
      },
    ),
    { numRuns: 50 },
  );
});

test("one share of one is the key itself", async () => {
  const key = randomKey();
  expect(await splitKey(key, 1, 1)).toEqual([key]);
  expect(await combineShares([key])).toEqual(key);
});

test("shares split by Lagrange's formula over GF(2^8) with the x coordinate last combine, as Vault makes them", async () => {
  // f(x) = s + a·x in GF(2^8) mod 0x11b with s = 0x53, a = 0xca: f(1) = 0x99, f(2) = 0x53 ^ 0x8f = 0xdc.
  expect(await combineShares([Uint8Array.of(0x99, 1), Uint8Array.of(0xdc, 2)])).toEqual(Uint8Array.of(0x53));
});

test("a share given twice does not combine", async () => {
  const [share] = await splitKey(randomKey(), 3, 2);
  expect(share === undefined ? "no share" : await combineShares([share, share])).toBeUndefined();
});

test.each([
  { shares: 0, threshold: 0, possible: false },
  { shares: 1, threshold: 1, possible: true },
  { shares: 1, threshold: 2, possible: false },
  { shares: 2, threshold: 1, possible: false },
  { shares: 5, threshold: 3, possible: true },
  { shares: 5, threshold: 6, possible: false },
  { shares: 255, threshold: 255, possible: true },
  { shares: 256, threshold: 2, possible: false },
  { shares: 2.5, threshold: 2, possible: false },
])("$threshold of $shares is possible: $possible", ({ shares, threshold, possible }) => {
  expect(isPossibleSplit(shares, threshold)).toBe(possible);
});
