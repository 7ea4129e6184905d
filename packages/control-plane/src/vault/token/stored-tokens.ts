import type { Comparison, Storage, TransactionResult, Write } from "@rk8s/storage";
import { RecentMap } from "../policy/recent-map.js";
import { decodeTokenEntry, encodeTokenEntry, type TokenEntry } from "./token-entry.js";
import { expiryWrites, TOKEN_PREFIX } from "./token-keys.js";

/** A `swap` fails when another use of the same token won; so many in a row do not happen to a sane caller. */
export const MAX_CONFLICTS = 200;
/** Entries that are kept at hand, and how large they are at most. */
const MAX_KEPT = 4096;
const MAX_KEPT_BYTES = 4096;

/** A token's entry and the revision at which it was written. */
export interface StoredToken {
  readonly key: string;
  readonly modRevision: number;
  readonly entry: TokenEntry;
}

/**
 * The entries of tokens, those used not long ago at hand: each request looks at its token and all ancestors. All that
 * writes an entry in this process does it through here; `forget` is for what others write. A use is taken by comparing, so a
 * token is never used twice whatever is at hand.
 */
export class StoredTokens {
  readonly #storage: Storage;
  readonly #kept = new RecentMap<StoredToken>(MAX_KEPT);
  /** Writes under way by token; what is read meanwhile may be old in a moment. */
  readonly #writing = new Map<string, number>();
  /** Moves with the end of every write, so that a reader does not keep what was replaced while it read. */
  #generation = 0;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** @throws {RksError} STORAGE_CORRUPT */
  read(hash: string): Promise<StoredToken | undefined> | StoredToken {
    return this.#kept.get(hash) ?? this.#load(hash);
  }

  /** Another process has written the token's entry; without a hash: perhaps any. */
  forget(hash?: string): void {
    this.#generation += 1;
    if (hash === undefined) this.#kept.clear();
    else this.#kept.delete(hash);
  }

  /** Do a transaction that writes or deletes a token's entry. */
  async write(
    hash: string,
    comparisons: readonly Comparison[],
    writes: readonly Write[],
  ): Promise<TransactionResult> {
    this.#writing.set(hash, (this.#writing.get(hash) ?? 0) + 1);
    this.#kept.delete(hash);
    try {
      return await this.#storage.transaction(comparisons, writes);
    } finally {
      this.#generation += 1;
      const left = (this.#writing.get(hash) ?? 1) - 1;
      if (left === 0) this.#writing.delete(hash);
      else this.#writing.set(hash, left);
    }
  }

  /** Replace a token's entry, unless it was changed since it was read: then false. */
  async swap(
    hash: string,
    stored: StoredToken,
    entry: TokenEntry,
    besides: readonly Write[] = [],
  ): Promise<boolean> {
    const { succeeded } = await this.write(
      hash,
      [comparisonOf(stored)],
      [
        { type: "put", key: stored.key, value: encodeTokenEntry(entry) },
        ...expiryWrites(hash, stored.entry.expiresAtMs, entry.expiresAtMs),
        ...besides,
      ],
    );
    return succeeded;
  }

  async #load(hash: string): Promise<StoredToken | undefined> {
    const generation = this.#generation;
    const key = TOKEN_PREFIX + hash;
    const stored = await this.#storage.get(key);
    if (stored === undefined) return undefined;
    const { modRevision, value } = stored;
    const token = { key, modRevision, entry: decodeTokenEntry(value) };
    const isCurrent = generation === this.#generation && !this.#writing.has(hash);
    if (isCurrent && value.byteLength <= MAX_KEPT_BYTES) this.#kept.set(hash, token);
    return token;
  }
}

/** What a transaction compares so that it succeeds only while the token is as it was read. */
export function comparisonOf({ key, modRevision }: StoredToken): Comparison {
  return { key, modRevision };
}
