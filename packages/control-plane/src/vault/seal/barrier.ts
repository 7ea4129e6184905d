import { RksError } from "@rk8s/protocol";
import {
  assertKey,
  assertTransaction,
  type Change,
  type Comparison,
  type Entry,
  type ListRange,
  MAX_TRANSACTION_WRITES,
  type Page,
  type Storage,
  type TransactionResult,
  type Write,
} from "@rk8s/storage";

import type { Keyring } from "./keyring.js";
import { recordHeader } from "./sealed-record.js";

/** Where the barrier's entries live in the store below; what is not under it is the seal's. */
const PREFIX = "barrier/";
/** The record that counts the barrier's transactions: of all records of a store it must be the last that is written. */
export const SEQUENCE_KEY = "core/sequence";
/** One write of every transaction is the counter's. */
export const MAX_BARRIER_WRITES = MAX_TRANSACTION_WRITES - 1;

/** What the counter said when the barrier was unsealed, and at which revision of the store it was written. */
interface Baseline {
  readonly sequence: number;
  readonly revision: number;
  /** What the active term had encrypted by then. */
  readonly encryptions: number;
}

/** A key that is made from the keyring. */
export interface DerivedKey {
  readonly term: number;
  readonly key: Uint8Array;
}

/** How much the key that encrypts has been used. */
export interface KeyUse {
  readonly term: number;
  /** When the key was made, milliseconds since the epoch. */
  readonly sinceMs: number;
  /** Values encrypted with it; what no transaction confirmed may be missing after a crash. */
  readonly encryptions: number;
}

/**
 * A store whose values are encrypted; keys stay readable, as in Vault. A value decrypts only under the key it was
 * written to and unchanged.
 *
 * Every transaction has a sequence number, authenticated in each record it writes and, in the same transaction (no
 * further synchronisation of the disk), in a counter record. Of a record and the counter, whichever was put back to
 * an older state gives the other the lie. A store that was put back as a whole is consistent in itself: only a
 * sequence number kept elsewhere (`minimumSequence`) tells. Deleting a record behind the barrier's back is not seen.
 *
 * The store below must apply transactions in the order of the calls and have no other writer.
 */
export class Barrier implements Storage {
  readonly #storage: Storage;
  #baseline: Baseline;
  readonly #sealing = new AbortController();
  #keyring: Keyring;
  /** Of the transaction that was asked for last. */
  #sequence: number;
  /** Of the last transaction that the store below has confirmed. */
  #confirmed: number;
  #encryptions: number;
  #afterWrite: (() => void) | undefined;
  #afterMove: (() => void) | undefined;

  private constructor(storage: Storage, keyring: Keyring, baseline: Baseline) {
    this.#storage = storage;
    this.#keyring = keyring;
    this.#baseline = baseline;
    this.#sequence = baseline.sequence;
    this.#confirmed = baseline.sequence;
    this.#encryptions = baseline.encryptions;
  }

  /** A barrier over a store that holds nothing of it yet. */
  static create(storage: Storage, keyring: Keyring): Barrier {
    return new Barrier(storage, keyring, { sequence: 0, revision: 0, encryptions: 0 });
  }

  /**
   * Open a barrier that was written before. It owns the keyring from then on.
   * @throws {RksError} STORAGE_CORRUPT when the counter is missing, damaged or below `minimumSequence`.
   */
  static async unseal(storage: Storage, keyring: Keyring, minimumSequence = 0): Promise<Barrier> {
    const counter = await storage.get(SEQUENCE_KEY);
    const bytes = counter === undefined ? undefined : keyring.decrypt(SEQUENCE_KEY, counter.value);
    const counts = bytes === undefined ? undefined : decodeCounts(bytes);
    if (counter === undefined || counts === undefined) {
      throw corrupt(`the storage's transaction counter is ${counter === undefined ? "missing" : "damaged"}`);
    }
    const { sequence } = counts;
    if (sequence < minimumSequence) {
      throw corrupt(
        `the storage was put back to transaction ${sequence}, at least ${minimumSequence} was expected`,
      );
    }
    // A crash right after a rotation leaves a counter that an older term wrote.
    const isActive = recordHeader(counter.value)?.term === keyring.activeTerm;
    const encryptions = isActive ? counts.encryptions : 0;
    return new Barrier(storage, keyring, { sequence, revision: counter.modRevision, encryptions });
  }

  /** Number of the last transaction that is durable; kept elsewhere, it proves later that the store was not put back. */
  get sequence(): number {
    return this.#confirmed;
  }

  /** How much the key that encrypts has been used. */
  get keyUse(): KeyUse {
    const { activeTerm: term, activeSinceMs: sinceMs } = this.#keyring;
    return { term, sinceMs, encryptions: this.#encryptions };
  }

  /** Call `listener`, which must not throw, after every transaction that wrote something; there is one listener. */
  afterWrite(listener: () => void): void {
    this.#afterWrite = listener;
  }

  get isSealed(): boolean {
    return this.#sealing.signal.aborted;
  }

  /**
   * The store below was exchanged for a copy, in which the counter record is `counter`, its last one. To be called in the
   * same turn of the event loop, with nothing under way.
   * @throws {RksError} STORAGE_CORRUPT when the counter is damaged, VAULT_SEALED.
   */
  movedTo(counter: Entry): void {
    this.#assertUnsealed();
    const bytes = this.#keyring.decrypt(SEQUENCE_KEY, counter.value);
    const counts = bytes === undefined ? undefined : decodeCounts(bytes);
    if (counts === undefined) throw corrupt("the storage's transaction counter is damaged");
    const { sequence } = counts;
    this.#baseline = { ...this.#baseline, sequence, revision: counter.modRevision };
    this.#afterMove?.();
  }

  /** Call `listener`, which must not throw, when the store was exchanged: revisions that were read before are void. */
  afterMove(listener: () => void): void {
    this.#afterMove = listener;
  }

  /**
   * A key for one purpose from the term that encrypts now, or from `term`; undefined when that is unknown. The caller wipes it.
   * @throws {RksError} VAULT_SEALED
   */
  deriveKey(purpose: string, term = this.#keyring.activeTerm): DerivedKey | undefined {
    this.#assertUnsealed();
    const key = this.#keyring.derive(purpose, term);
    return key === undefined ? undefined : { term, key };
  }

  /**
   * Whether what the store below holds is what the barrier wrote there; undefined for keys that are not the barrier's.
   * @throws {RksError} VAULT_SEALED
   */
  isAuthentic({ key, value }: Pick<Entry, "key" | "value">): boolean | undefined {
    this.#assertUnsealed();
    if (key !== SEQUENCE_KEY && !key.startsWith(PREFIX)) return undefined;
    const clear = this.#keyring.decrypt(key, value);
    clear?.fill(0);
    return clear !== undefined;
  }

  /** @throws {RksError} VAULT_SEALED, STORAGE_CORRUPT naming the path */
  async get(key: string): Promise<Entry | undefined> {
    this.#assertUnsealed();
    assertKey(key);
    const entry = await this.#storage.get(PREFIX + key);
    return entry === undefined ? undefined : this.#open(entry);
  }

  /** @throws {RksError} VAULT_SEALED, STORAGE_CORRUPT naming the path */
  async list(prefix: string, options: ListRange = {}): Promise<Page> {
    this.#assertUnsealed();
    const after = options.after === undefined ? {} : { after: PREFIX + options.after };
    const page = await this.#storage.list(PREFIX + prefix, { ...options, ...after });
    return { ...page, entries: page.entries.map((entry) => this.#open(entry)) };
  }

  /**
   * At most `MAX_BARRIER_WRITES` writes.
   * @throws {RksError} VAULT_SEALED
   */
  async transaction(
    comparisons: readonly Comparison[],
    writes: readonly Write[],
  ): Promise<TransactionResult> {
    this.#assertUnsealed();
    assertTransaction(comparisons, writes, MAX_BARRIER_WRITES);
    const encrypted = writes.length === 0 ? [] : this.encryptedWrites(writes);
    const sequence = this.#sequence;
    const result = await this.#storage.transaction(
      comparisons.map(({ key, modRevision }) => ({ key: PREFIX + key, modRevision })),
      encrypted,
    );
    if (result.succeeded && encrypted.length > 0) {
      this.#confirmed = Math.max(this.#confirmed, sequence);
      this.#afterWrite?.();
    }
    return result;
  }

  /** @throws {RksError} VAULT_SEALED, also when the barrier is sealed while the watch runs */
  async *watch(
    prefix: string,
    fromRevision: number,
    options: { readonly signal: AbortSignal },
  ): AsyncGenerator<Change, void, void> {
    this.#assertUnsealed();
    const signal = AbortSignal.any([options.signal, this.#sealing.signal]);
    for await (const change of this.#storage.watch(PREFIX + prefix, fromRevision, { signal })) {
      this.#assertUnsealed();
      const { key, value, revision } = change;
      if (value === undefined) yield { key: key.slice(PREFIX.length), value, revision };
      else yield { ...this.#open({ key, value, createRevision: 0, modRevision: revision }), revision };
    }
    if (!options.signal.aborted) this.#assertUnsealed();
  }

  /**
   * The writes that `transaction` would do, counter included, for a transaction of the store below that also writes
   * outside the barrier. They must be written in the order in which they were asked for.
   * @throws {RksError} VAULT_SEALED
   */
  encryptedWrites(writes: readonly Write[]): Write[] {
    this.#assertUnsealed();
    assertTransaction([], writes, MAX_BARRIER_WRITES);
    this.#sequence += 1;
    this.#encryptions += writes.filter(({ type }) => type === "put").length + 1;
    const counter = encodeCounts({ sequence: this.#sequence, encryptions: this.#encryptions });
    return [
      ...writes.map((write): Write => {
        const key = PREFIX + write.key;
        if (write.type === "delete") return { type: "delete", key };
        return { type: "put", key, value: this.#keyring.encrypt(key, this.#sequence, write.value) };
      }),
      { type: "put", key: SEQUENCE_KEY, value: this.#keyring.encrypt(SEQUENCE_KEY, this.#sequence, counter) },
    ];
  }

  /** Encrypt with another keyring from now on, one that holds the terms of the present one; the old one is wiped. */
  replaceKeyring(keyring: Keyring): void {
    this.#assertUnsealed();
    this.#keyring.zero();
    this.#keyring = keyring;
    this.#encryptions = 0;
  }

  /** Wipe the keys. Every later call says VAULT_SEALED; running watches end with it. */
  seal(): void {
    if (this.isSealed) return;
    this.#sealing.abort();
    this.#keyring.zero();
  }

  /** Seal; the store below stays open. */
  [Symbol.asyncDispose](): Promise<void> {
    this.seal();
    return Promise.resolve();
  }

  #assertUnsealed(): void {
    if (this.isSealed) throw vaultSealed();
  }

  #open(entry: Entry): Entry {
    this.#assertUnsealed();
    const value = this.#keyring.decrypt(entry.key, entry.value);
    const key = entry.key.slice(PREFIX.length);
    if (value === undefined) throw corrupt(`the entry at "${key}" is not what was written there`);
    const sequence = recordHeader(entry.value)?.sequence ?? 0;
    const isOld = entry.modRevision <= this.#baseline.revision;
    if (isOld !== sequence <= this.#baseline.sequence) {
      throw corrupt(`the entry at "${key}" or the transaction counter was put back to an older state`);
    }
    return { ...entry, key, value };
  }
}

/** More transactions than a vault does between two restores; there is room for 65,000 of them. */
const RESTORE_STEP = 2 ** 32;

/**
 * The value of a counter record that is far above `value`, for a store that was restored: whoever saw a later state of it
 * takes it for newer all the same.
 * @throws {RksError} STORAGE_CORRUPT
 */
export function advancedCounter(keyring: Keyring, value: Uint8Array): Uint8Array {
  const bytes = keyring.decrypt(SEQUENCE_KEY, value);
  const counts = bytes === undefined ? undefined : decodeCounts(bytes);
  if (counts === undefined) throw corrupt("the storage's transaction counter is damaged");
  const sequence = counts.sequence + RESTORE_STEP;
  return keyring.encrypt(SEQUENCE_KEY, sequence, encodeCounts({ ...counts, sequence }));
}

interface Counts {
  readonly sequence: number;
  readonly encryptions: number;
}

function encodeCounts({ sequence, encryptions }: Counts): Uint8Array {
  const bytes = Buffer.alloc(12);
  bytes.writeUIntBE(sequence, 0, 6);
  bytes.writeUIntBE(encryptions, 6, 6);
  return bytes;
}

/** Older versions did not count what a key encrypted; there, the transactions are the least that it can be. */
function decodeCounts(bytes: Uint8Array): Counts | undefined {
  const buffer = Buffer.from(bytes);
  if (buffer.length !== 6 && buffer.length !== 12) return undefined;
  const sequence = buffer.readUIntBE(0, 6);
  return { sequence, encryptions: buffer.length === 12 ? buffer.readUIntBE(6, 6) : sequence };
}

/** The error of everything that needs the vault unsealed. */
export function vaultSealed(): RksError {
  return new RksError("VAULT_SEALED", "the vault is sealed", {
    suggestion: "Unseal it with rks unseal.",
  });
}

function corrupt(message: string): RksError {
  return new RksError("STORAGE_CORRUPT", message, {
    suggestion: "Check the disk and restore the data folder from the newest backup.",
  });
}
