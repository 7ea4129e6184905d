import { RksError } from "@rk8s/protocol";

import { assertKey, assertWellFormed } from "./key.js";
import { MAX_LIST_LIMIT, MAX_TRANSACTION_BYTES, MAX_TRANSACTION_WRITES, MAX_VALUE_BYTES } from "./storage.js";
import type { Comparison, ListRange, Write } from "./storage.js";

/** Room for what the barrier adds to a value; adapters accept this much more than `MAX_VALUE_BYTES`. */
const VALUE_OVERHEAD_BYTES = 64;

/**
 * Check a transaction before anything of it is done.
 * @throws {TypeError} when it has too many writes or comparisons, or writes or compares a key twice.
 * @throws {RksError} INPUT_INVALID when a key or a value is too large or malformed, or all together are too large.
 */
export function assertTransaction(
  comparisons: readonly Comparison[],
  writes: readonly Write[],
  maxWrites: number = MAX_TRANSACTION_WRITES,
): void {
  assertKeys("comparisons", comparisons, MAX_TRANSACTION_WRITES);
  assertKeys("writes", writes, maxWrites);
  for (const write of writes) {
    if (write.type === "put") assertValue(write.key, write.value);
  }
  assertBytes(comparisons, writes);
}

/**
 * Check a list request and fill in its limit.
 * @throws {TypeError} when the limit is not an integer from 1 to `MAX_LIST_LIMIT`.
 * @throws {RksError} INPUT_INVALID when the prefix or `after` is not valid Unicode.
 */
export function assertListRange(prefix: string, range: ListRange | undefined): Required<ListRange> {
  const limit = range?.limit ?? MAX_LIST_LIMIT;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIST_LIMIT) {
    throw new TypeError(`list limit must be an integer from 1 to ${MAX_LIST_LIMIT}, not ${limit}`);
  }
  const after = range?.after ?? "";
  assertWellFormed(prefix);
  assertWellFormed(after);
  return { after, limit };
}

function assertKeys(what: string, items: readonly { readonly key: string }[], max: number): void {
  if (items.length > max) {
    throw new TypeError(`a transaction has at most ${max} ${what}, not ${items.length}`);
  }
  const keys = new Set<string>();
  for (const { key } of items) {
    assertKey(key);
    if (keys.has(key)) throw new TypeError(`a transaction names the key "${key}" twice in its ${what}`);
    keys.add(key);
  }
}

function assertBytes(comparisons: readonly Comparison[], writes: readonly Write[]): void {
  let bytes = 0;
  for (const { key } of comparisons) bytes += Buffer.byteLength(key);
  for (const write of writes) {
    bytes += Buffer.byteLength(write.key) + (write.type === "put" ? write.value.byteLength : 0);
  }
  if (bytes <= MAX_TRANSACTION_BYTES) return;
  throw new RksError(
    "INPUT_INVALID",
    `a transaction of ${bytes} bytes was asked for, at most ${MAX_TRANSACTION_BYTES} can be stored at once`,
    { suggestion: "Store less at once." },
  );
}

function assertValue(key: string, value: Uint8Array): void {
  if (value.byteLength <= MAX_VALUE_BYTES + VALUE_OVERHEAD_BYTES) return;
  throw new RksError(
    "INPUT_INVALID",
    `the value for "${key}" is ${value.byteLength} bytes long, at most ${MAX_VALUE_BYTES} can be stored`,
    { suggestion: "Store less under one name." },
  );
}
