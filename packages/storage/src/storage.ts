/**
 * Ordered key-value storage with revisions and compare-and-swap, shaped like etcd v3 so that a cluster store
 * fits behind it. Keys are UTF-8 strings in the order of their bytes. Everything a node's identity depends on
 * stands on `transaction`: it is atomic, durable before it answers, and at most one of two conflicting ones wins.
 * Adapters: `memory-storage.ts`, `lmdb/`, `etcd/`, and the package `storage-sql`; `testing/storage-contract.ts` is the suite
 * that all of them pass.
 */
export interface Storage extends AsyncDisposable {
  /** @throws {RksError} STORAGE_CORRUPT when the entry cannot be trusted. */
  get(key: string): Promise<Entry | undefined>;
  /** Entries whose key starts with `prefix`, in key order, at most `limit`, strictly after the key `after`. */
  list(prefix: string, options?: ListRange): Promise<Page>;
  /**
   * Apply all writes when every comparison holds, nothing otherwise. Durable when it resolves. Transactions are
   * applied in the order of the calls. At most `MAX_TRANSACTION_WRITES` writes of `MAX_TRANSACTION_BYTES`, no key
   * written twice.
   * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE or BUSY, and then nothing was written. UNAVAILABLE of a store that is
   * elsewhere: whether it was is known only when the message does not say otherwise. SQL servers also UNREACHABLE and TIMED_OUT
   * when nothing was written, and CONNECTION_LOST, after which that may not be known.
   */
  transaction(comparisons: readonly Comparison[], writes: readonly Write[]): Promise<TransactionResult>;
  /**
   * Every change under `prefix` with a revision ≥ `fromRevision`, in order, each once; runs until aborted.
   * @throws {RksError} CONFLICT when `fromRevision` lies before what the adapter still remembers; list again then.
   */
  watch(
    prefix: string,
    fromRevision: number,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<Change>;
}

export interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Store revision at which the key came into being. */
  readonly createRevision: number;
  /** Store revision of the last write to the key. */
  readonly modRevision: number;
}

export interface ListRange {
  /** Exclusive. */
  readonly after?: string;
  /** Default and maximum: MAX_LIST_LIMIT. */
  readonly limit?: number;
}

export interface Page {
  readonly entries: readonly Entry[];
  /** Whether entries under the prefix follow the last one. */
  readonly more: boolean;
  /** Store revision at which the page was read; `watch` from this + 1 misses nothing. */
  readonly revision: number;
}

/** `modRevision` must be this; 0 stands for a key that does not exist. */
export interface Comparison {
  readonly key: string;
  readonly modRevision: number;
}

export type Write =
  | { readonly type: "put"; readonly key: string; readonly value: Uint8Array }
  | { readonly type: "delete"; readonly key: string };

export interface TransactionResult {
  readonly succeeded: boolean;
  /** Revision of the store after the transaction; unchanged when it did not succeed. */
  readonly revision: number;
}

export interface Change {
  readonly key: string;
  /** Undefined when the key was deleted. */
  readonly value: Uint8Array | undefined;
  readonly revision: number;
}

/** LMDB's limit is 1978 bytes of UTF-8; less here, so that views and the barrier can put a prefix before a key. */
export const MAX_KEY_BYTES = 1024;
/** etcd takes 128 by default; its adapter needs one for itself. As many comparisons are possible. */
export const MAX_TRANSACTION_WRITES = 127;
/** All keys and values of a transaction together: etcd takes 1.5 MiB by default, less what it and its adapter add. */
export const MAX_TRANSACTION_BYTES = 1_540_000;
/** Keeps one page's memory small; callers page on. */
export const MAX_LIST_LIMIT = 1000;
/** As etcd's default request limit, less room for the key. */
export const MAX_VALUE_BYTES = 1_500_000;
