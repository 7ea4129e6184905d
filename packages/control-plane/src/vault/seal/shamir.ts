import { timingSafeEqual } from "node:crypto";

import { combine, split } from "shamir-secret-sharing";

import { KEY_BYTES } from "./sealed-record.js";

/** A share is the polynomials' values followed by the x coordinate; Vault's layout. */
export const SHARE_BYTES = KEY_BYTES + 1;

/**
 * Split a key over GF(2^8) so that any `threshold` of the `shares` give it back. One share of one is the key
 * itself, as in Vault.
 * @throws {TypeError} unless 2 ≤ threshold ≤ shares ≤ 255, or both are 1.
 */
export async function splitKey(key: Uint8Array, shares: number, threshold: number): Promise<Uint8Array[]> {
  if (shares === 1 && threshold === 1) return [Uint8Array.from(key)];
  if (!isPossibleSplit(shares, threshold)) {
    throw new TypeError(`cannot split a key into ${shares} shares with a threshold of ${threshold}`);
  }
  return split(new Uint8Array(key), shares, threshold);
}

/** Whether a key can be split this way. */
export function isPossibleSplit(shares: number, threshold: number): boolean {
  if (!Number.isInteger(shares) || !Number.isInteger(threshold)) return false;
  if (shares === 1) return threshold === 1;
  return threshold >= 2 && threshold <= shares && shares <= 255;
}

/**
 * Put a key together. The result is some key, not known to be the right one: corrupt, foreign or too few shares
 * give a wrong key without an error, so the caller proves it by decrypting. Undefined when the shares do not fit
 * together (different lengths, one x coordinate twice).
 */
export async function combineShares(shares: readonly Uint8Array[]): Promise<Uint8Array | undefined> {
  const [only] = shares;
  if (shares.length === 1 && only !== undefined) return Uint8Array.from(only);
  try {
    return await combine(shares.map((share) => new Uint8Array(share)));
  } catch {
    return undefined;
  }
}

/** Whether two shares are the same, in time that depends on their lengths only. */
export function isSameShare(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}
