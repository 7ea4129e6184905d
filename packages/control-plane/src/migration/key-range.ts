import {
  compareKeys,
  type Entry,
  MAX_TRANSACTION_WRITES,
  pagesOf,
  sizeOfWrite,
  type Storage,
  type Write,
} from "@rk8s/storage";
import { type DigestTotal, EMPTY_TOTAL } from "../store/store-digest.js";
import { isContent } from "../store/store-state.js";

/** Entries in a range when it is made: as many as one transaction writes. */
export const RANGE_ENTRIES = MAX_TRANSACTION_WRITES;
/** Of one transaction, unless a single value is larger; etcd takes 1.5 MiB. */
const MAX_TRANSACTION_BYTES = 1_000_000;

/** The keys after one, up to and with another, and what is known of the copy of their entries. */
export interface KeyRange {
  /** Exclusive; empty: from the first key on. */
  readonly after: string;
  /** Inclusive; undefined: to the last key. */
  readonly upTo: string | undefined;
  /** Whether something may have changed since source and copy were compared. */
  isDirty: boolean;
  /** Of what was last found the same in source and copy. */
  total: DigestTotal;
}

export function newRange(after: string, upTo: string | undefined, isDirty: boolean): KeyRange {
  return { after, upTo, isDirty, total: EMPTY_TOTAL };
}

/**
 * The range that holds the key; ranges follow each other without gap, the first begins at the first key. Undefined: the key
 * comes after the last range.
 */
export function rangeOf(ranges: readonly KeyRange[], key: string): KeyRange | undefined {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const upTo = ranges[middle]?.upTo;
    if (upTo === undefined || compareKeys(key, upTo) <= 0) high = middle;
    else low = middle + 1;
  }
  return ranges[low];
}

/** The entries of a range that are to be copied. */
export async function readRange(
  storage: Pick<Storage, "list">,
  { after, upTo }: Pick<KeyRange, "after" | "upTo">,
): Promise<readonly Entry[]> {
  const found: Entry[] = [];
  for await (const entries of pagesOf(storage, "", { after, limit: RANGE_ENTRIES })) {
    for (const entry of entries) {
      if (upTo !== undefined && compareKeys(entry.key, upTo) > 0) return found;
      if (isContent(entry.key)) found.push(entry);
    }
    if (upTo !== undefined && entries.at(-1)?.key === upTo) return found;
  }
  return found;
}

/** What makes `theirs` the same as `ours`. Both in the order of their keys. */
export function differences(ours: readonly Entry[], theirs: readonly Entry[]): readonly Write[] {
  const writes: Write[] = [];
  const known = new Map(theirs.map(({ key, value }) => [key, value]));
  for (const { key, value } of ours) {
    const copy = known.get(key);
    known.delete(key);
    if (copy === undefined || Buffer.compare(copy, value) !== 0) writes.push({ type: "put", key, value });
  }
  for (const key of known.keys()) writes.push({ type: "delete", key });
  return writes;
}

/** Writes in as few transactions as they fit into. */
export function* inTransactions(writes: readonly Write[]): Generator<readonly Write[], void, void> {
  let batch: Write[] = [];
  let bytes = 0;
  for (const write of writes) {
    const size = sizeOfWrite(write);
    if (
      batch.length === MAX_TRANSACTION_WRITES ||
      (batch.length > 0 && bytes + size > MAX_TRANSACTION_BYTES)
    ) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(write);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
