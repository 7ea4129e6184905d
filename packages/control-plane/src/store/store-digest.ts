import { createHmac } from "node:crypto";
import type { Entry } from "@rk8s/storage";

/** Of the key of a digest, in a migration and in a backup. */
export const DIGEST_PURPOSE = "rk8s/store-digest/1";
const MODULUS = 1n << 256n;
const LENGTH_BYTES = 4;

/** How much was summed up, and the sum. */
export interface DigestTotal {
  readonly entries: number;
  readonly bytes: number;
  readonly sum: bigint;
}

export const EMPTY_TOTAL: DigestTotal = { entries: 0, bytes: 0, sum: 0n };

/**
 * A digest of entries whatever their order: the sum, modulo 2^256, of a MAC of each. Parts of a store are summed up apart,
 * and a part again when it has changed. Without the key nobody finds other entries with the same sum.
 */
export class StoreDigest {
  readonly #key: Uint8Array;

  /** 32 bytes; they stay the caller's. */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  total(entries: readonly Pick<Entry, "key" | "value">[]): DigestTotal {
    let sum = 0n;
    let bytes = 0;
    for (const { key, value } of entries) {
      const name = Buffer.from(key);
      const length = Buffer.allocUnsafe(LENGTH_BYTES);
      length.writeUInt32BE(name.length);
      const mac = createHmac("sha256", this.#key).update(length).update(name).update(value).digest("hex");
      sum = (sum + BigInt(`0x${mac}`)) % MODULUS;
      bytes += name.length + value.byteLength;
    }
    return { entries: entries.length, bytes, sum };
  }
}

export function addTotals(a: DigestTotal, b: DigestTotal): DigestTotal {
  return { entries: a.entries + b.entries, bytes: a.bytes + b.bytes, sum: (a.sum + b.sum) % MODULUS };
}

/** The sum as 64 hexadecimal digits. */
export function formatSum({ sum }: DigestTotal): string {
  return sum.toString(16).padStart(64, "0");
}
