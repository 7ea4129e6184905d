import type { Comparison, TransactionResult, Write } from "@rk8s/storage";

/** A transaction as its caller asked for it. */
export interface Request {
  readonly comparisons: readonly Comparison[];
  readonly writes: readonly Write[];
}

/** Revisions of a key that exists. */
export interface KeyState {
  readonly createRevision: number;
  readonly modRevision: number;
}

/** What is to be stored under a key in the end. */
interface NewEntry extends KeyState {
  readonly value: Uint8Array;
}

interface LoggedChange {
  readonly revision: number;
  readonly seq: number;
  readonly key: string;
  readonly value: Uint8Array | undefined;
}

/** What a batch of transactions comes to, one after the other. */
export interface Outcome {
  /** One for each request. */
  readonly results: readonly TransactionResult[];
  /** Of the store after all of them. */
  readonly revision: number;
  readonly changes: readonly LoggedChange[];
  /** The last word on each key that was written; undefined: deleted. */
  readonly entries: ReadonlyMap<string, NewEntry | undefined>;
}

/** Every key that a batch compares or writes, once. */
export function keysOf(requests: readonly Request[]): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const { comparisons, writes } of requests) {
    for (const { key } of comparisons) keys.add(key);
    for (const { key } of writes) keys.add(key);
  }
  return keys;
}

/**
 * Decide a batch of transactions in their order, each on what the ones before it left.
 * @param states of all of `keysOf(requests)` that exist, read under the lock that this batch is written under.
 * @param revision of the store before.
 */
export function decideBatch(
  requests: readonly Request[],
  states: ReadonlyMap<string, KeyState>,
  revision: number,
): Outcome {
  const now = new Map(states);
  const entries = new Map<string, NewEntry | undefined>();
  const changes: LoggedChange[] = [];
  const results: TransactionResult[] = [];
  let last = revision;
  for (const { comparisons, writes } of requests) {
    const succeeded = comparisons.every(
      ({ key, modRevision }) => (now.get(key)?.modRevision ?? 0) === modRevision,
    );
    const next = last + 1;
    let seq = 0;
    for (const write of succeeded ? writes : []) {
      const { key } = write;
      const old = now.get(key);
      if (write.type === "delete") {
        if (old === undefined) continue;
        now.delete(key);
        entries.set(key, undefined);
        changes.push({ revision: next, seq, key, value: undefined });
      } else {
        const state = { createRevision: old?.createRevision ?? next, modRevision: next };
        now.set(key, state);
        entries.set(key, { ...state, value: write.value });
        changes.push({ revision: next, seq, key, value: write.value });
      }
      seq += 1;
    }
    if (seq > 0) last = next;
    results.push({ succeeded, revision: last });
  }
  return { results, revision: last, changes, entries };
}
