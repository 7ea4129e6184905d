import { LinkedAbort, RksError } from "@rk8s/protocol";
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
export const BARRIER_PREFIX = "barrier/";
/**
 * The records that count the transactions of each writer; of the only one it has no number. Of all records of a store they
 * must be the last that are written.
 */
export const SEQUENCE_PREFIX = "core/sequence";
/** One write of every transaction is the counter's. */
export const MAX_BARRIER_WRITES = MAX_TRANSACTION_WRITES - 1;

/** Who wrote a record: every process that has the store open writes under a number of its own, as long as it is there. */
export interface Writer {
  /** 0: the only one; others: 1 to `MAX_WRITER`. */
  readonly number: number;
  /** In every transaction, below the barrier: it fails once another process has the number. */
  readonly fence?: Comparison | undefined;
}

/** A store that is opened by one process alone. */
const ONLY_WRITER: Writer = { number: 0 };
/** A record has room for more; the counters of all are moved to another store in one transaction. */
export const MAX_WRITER = 100;
/** A writer's number stands above its own count of transactions, in six bytes. */
const COUNT_BITS = 2 ** 40;

/** What a writer's counter said when the barrier was unsealed, and at which revision of the store it was written. */
interface Baseline {
  readonly sequence: number;
  readonly revision: number;
  /** What it had encrypted under the active term by then. */
  readonly encryptions: number;
}

/** A key that is made from the keyring. */
export interface DerivedKey {
  readonly term: number;
  readonly key: Uint8Array;
}

/** What all writers had done when the counters were read. */
interface Baselines {
  readonly writers: ReadonlyMap<number, Baseline>;
  /** Of the store. A writer without a counter had written nothing by then. */
  readonly revision: number;
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
 * Every transaction has a sequence number of its writer, authenticated in each record it writes and, in the same
 * transaction (no further synchronisation of the disk), in the writer's counter record. Of a record and the counter, whichever
 * was put back to an older state gives the other the lie. A store that was put back as a whole is consistent in itself: only
 * a sequence number kept elsewhere (`minimumSequence`) tells. Deleting a record behind the barrier's back is not seen.
 *
 * Several processes may write to the store below, each as another `Writer`; it must apply the transactions of each in the
 * order of the calls.
 */
export class Barrier implements Storage {
  readonly #storage: Storage;
  readonly #sealing = new AbortController();
  #baselines: Baselines;
  #writer: Writer;
  #keyring: Keyring;
  /** Of the writer's transaction that was asked for last. */
  #sequence = 0;
  /** Of the writer's last transaction that the store below has confirmed. */
  #confirmed = 0;
  /** By this writer. */
  #encryptions = 0;
  /** What the others encrypted under the active term, as they said last. */
  readonly #heard = new Map<number, number>();
  #otherEncryptions = 0;
  #afterWrite: (() => void) | undefined;
  #afterMove: (() => void) | undefined;
  #learnTerms: (() => Promise<void>) | undefined;
  #learning: Promise<void> | undefined;

  private constructor(storage: Storage, keyring: Keyring, writer: Writer, baselines: Baselines) {
    this.#storage = storage;
    this.#keyring = keyring;
    this.#baselines = baselines;
    this.#writer = writer;
    this.#countOn();
  }

  /** A barrier over a store that holds nothing of it yet. */
  static create(storage: Storage, keyring: Keyring): Barrier {
    return new Barrier(storage, keyring, ONLY_WRITER, { writers: new Map(), revision: 0 });
  }

  /**
   * Open a barrier that was written before. It owns the keyring from then on.
   * @throws {RksError} STORAGE_CORRUPT when the first counter is missing, one is damaged, or all together are below
   * `minimumSequence`.
   */
  static async unseal(
    storage: Storage,
    keyring: Keyring,
    minimumSequence = 0,
    writer: Writer = ONLY_WRITER,
  ): Promise<Barrier> {
    const { entries, revision } = await storage.list(SEQUENCE_PREFIX);
    const barrier = new Barrier(storage, keyring, writer, baselinesOf(entries, revision, keyring));
    if (barrier.sequence >= minimumSequence) return barrier;
    throw corrupt(
      `the storage was put back to transaction ${barrier.sequence}, at least ${minimumSequence} was expected`,
    );
  }

  /**
   * How many transactions of all writers are durable, as far as this one knows; kept elsewhere, it proves later that the store
   * was not put back.
   */
  get sequence(): number {
    let sequence = this.#confirmed;
    for (const [number, other] of this.#baselines.writers) {
      if (number !== this.#writer.number) sequence += other.sequence;
    }
    return sequence;
  }

  /** How much the key that encrypts has been used. */
  get keyUse(): KeyUse {
    const { activeTerm: term, activeSinceMs: sinceMs } = this.#keyring;
    return { term, sinceMs, encryptions: this.#encryptions + this.#otherEncryptions };
  }

  /** Who this process is among the writers. */
  get writer(): Writer {
    return this.#writer;
  }

  /**
   * Write as another one from now on: this process lost its number. What is under way fails.
   * @throws {RksError} STORAGE_CORRUPT, and as the storage does.
   */
  async writeAs(writer: Writer): Promise<void> {
    const { entries, revision } = await this.#storage.list(SEQUENCE_PREFIX);
    if (!this.#knowsAll(entries)) await this.#learnUnknown();
    this.#baselines = baselinesOf(entries, revision, this.#keyring);
    this.#writer = writer;
    this.#countOn();
  }

  /** Another writer has written its counter: what it encrypted uses up the same key. One that cannot be read says nothing. */
  heardCounter(key: string, value: Uint8Array): void {
    const number = writerOfCounter(key);
    const counts = number === undefined ? undefined : this.#keyring.decrypt(key, value);
    const { encryptions } = (counts === undefined ? undefined : decodeCounts(counts)) ?? {};
    if (number === undefined || number === this.#writer.number || encryptions === undefined) return;
    if (recordHeader(value)?.term !== this.#keyring.activeTerm) return;
    this.#heard.set(number, encryptions);
    this.#countOthers();
  }

  /** How to learn of terms that another writer has added to the keyring; called when a record has one that is not known. */
  learnTermsBy(learn: () => Promise<void>): void {
    this.#learnTerms = learn;
  }

  /** Call `listener`, which must not throw, after every transaction that wrote something; there is one listener. */
  afterWrite(listener: () => void): void {
    this.#afterWrite = listener;
  }

  get isSealed(): boolean {
    return this.#sealing.signal.aborted;
  }

  /**
   * The store below was exchanged for a copy, in which `counters` are the last records, all of `revision`. To be called in the
   * same turn of the event loop, with nothing under way.
   * @throws {RksError} STORAGE_CORRUPT when a counter is damaged or missing, VAULT_SEALED.
   */
  movedTo(counters: readonly Entry[], revision: number): void {
    this.#assertUnsealed();
    this.#baselines = baselinesOf(counters, revision, this.#keyring);
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
    if (writerOfCounter(key) === undefined && !key.startsWith(BARRIER_PREFIX)) return undefined;
    const clear = this.#keyring.decrypt(key, value);
    clear?.fill(0);
    return clear !== undefined;
  }

  /** @throws {RksError} VAULT_SEALED, STORAGE_CORRUPT naming the path */
  async get(key: string): Promise<Entry | undefined> {
    this.#assertUnsealed();
    assertKey(key);
    const entry = await this.#storage.get(BARRIER_PREFIX + key);
    if (entry === undefined) return undefined;
    if (!this.#knowsAll([entry])) await this.#learnUnknown();
    return this.#open(entry);
  }

  /** @throws {RksError} VAULT_SEALED, STORAGE_CORRUPT naming the path */
  async list(prefix: string, options: ListRange = {}): Promise<Page> {
    this.#assertUnsealed();
    const after = options.after === undefined ? {} : { after: BARRIER_PREFIX + options.after };
    const page = await this.#storage.list(BARRIER_PREFIX + prefix, { ...options, ...after });
    if (!this.#knowsAll(page.entries)) await this.#learnUnknown();
    return { ...page, entries: page.entries.map((entry) => this.#open(entry)) };
  }

  /**
   * At most `MAX_BARRIER_WRITES` writes.
   * @throws {RksError} VAULT_SEALED; UNAVAILABLE when this process has lost its number among the writers.
   */
  async transaction(
    comparisons: readonly Comparison[],
    writes: readonly Write[],
  ): Promise<TransactionResult> {
    this.#assertUnsealed();
    assertTransaction(comparisons, writes, MAX_BARRIER_WRITES);
    const encrypted = writes.length === 0 ? [] : this.encryptedWrites(writes);
    const sequence = this.#sequence;
    const writer = this.#writer;
    const { fence } = writer;
    const result = await this.#storage.transaction(
      [
        ...comparisons.map(({ key, modRevision }) => ({ key: BARRIER_PREFIX + key, modRevision })),
        ...(fence === undefined ? [] : [fence]),
      ],
      encrypted,
    );
    if (!result.succeeded) await this.#assertNumberKept(writer);
    else if (encrypted.length > 0 && writer === this.#writer) {
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
    using life = new LinkedAbort(options.signal, this.#sealing.signal);
    const { signal } = life;
    for await (const change of this.#storage.watch(BARRIER_PREFIX + prefix, fromRevision, { signal })) {
      this.#assertUnsealed();
      const { key, value, revision } = change;
      if (value !== undefined && !this.#knowsAll([{ value }])) await this.#learnUnknown();
      if (value === undefined) yield { key: key.slice(BARRIER_PREFIX.length), value, revision };
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
    const { number } = this.#writer;
    const sequence = number * COUNT_BITS + this.#sequence;
    const counterKey = counterKeyOf(number);
    return [
      ...writes.map((write): Write => {
        const key = BARRIER_PREFIX + write.key;
        if (write.type === "delete") return { type: "delete", key };
        return { type: "put", key, value: this.#keyring.encrypt(key, sequence, write.value) };
      }),
      // Last: who watches the store knows by it that the transaction is whole, and whose it is.
      { type: "put", key: counterKey, value: this.#keyring.encrypt(counterKey, sequence, counter) },
    ];
  }

  /** Encrypt with another keyring from now on, one that holds the terms of the present one; the old one is wiped. */
  replaceKeyring(keyring: Keyring): void {
    this.#assertUnsealed();
    const isRotated = keyring.activeTerm !== this.#keyring.activeTerm;
    this.#keyring.zero();
    this.#keyring = keyring;
    if (!isRotated) return;
    this.#encryptions = 0;
    this.#heard.clear();
    this.#otherEncryptions = 0;
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
    const key = entry.key.slice(BARRIER_PREFIX.length);
    if (value === undefined) throw corrupt(`the entry at "${key}" is not what was written there`);
    const written = recordHeader(entry.value)?.sequence ?? 0;
    const { writers, revision } = this.#baselines;
    const baseline = writers.get(Math.floor(written / COUNT_BITS)) ?? { sequence: 0, revision };
    const isOld = entry.modRevision <= baseline.revision;
    if (isOld !== written % COUNT_BITS <= baseline.sequence) {
      throw corrupt(`the entry at "${key}" or the transaction counter was put back to an older state`);
    }
    return { ...entry, key, value };
  }

  #knowsAll(records: readonly { readonly value: Uint8Array }[]): boolean {
    return records.every(({ value }) => this.#keyring.knowsTermOf(value));
  }

  /** A term that another writer has added: look for it, once for all who met it. What stays unknown is refused when it is opened. */
  async #learnUnknown(): Promise<void> {
    this.#learning ??= this.#learnTerms?.().finally(() => (this.#learning = undefined));
    await this.#learning;
  }

  async #assertNumberKept({ fence }: Writer): Promise<void> {
    if (fence === undefined) return;
    const found = await this.#storage.get(fence.key);
    if ((found?.modRevision ?? 0) === fence.modRevision) return;
    throw new RksError("UNAVAILABLE", "this rks was silent for too long and its place was given to another", {
      suggestion: "Try again: it takes another place by itself.",
    });
  }

  /** Count from where the writer's counter was left. */
  #countOn(): void {
    const own = this.#baselines.writers.get(this.#writer.number);
    this.#sequence = own?.sequence ?? 0;
    this.#confirmed = this.#sequence;
    this.#encryptions = own?.encryptions ?? 0;
    this.#countOthers();
  }

  #countOthers(): void {
    let others = 0;
    for (const [number, { encryptions }] of this.#baselines.writers) {
      if (number !== this.#writer.number && !this.#heard.has(number)) others += encryptions;
    }
    for (const [number, encryptions] of this.#heard)
      if (number !== this.#writer.number) others += encryptions;
    this.#otherEncryptions = others;
  }
}

/** What the counters of all writers say, as they were listed at `revision`. @throws {RksError} STORAGE_CORRUPT */
function baselinesOf(entries: readonly Entry[], revision: number, keyring: Keyring): Baselines {
  const writers = new Map<number, Baseline>();
  for (const { key, value, modRevision } of entries) {
    const number = writerOfCounter(key);
    const bytes = number === undefined ? undefined : keyring.decrypt(key, value);
    const counts = bytes === undefined ? undefined : decodeCounts(bytes);
    if (number === undefined || counts === undefined)
      throw corrupt("the storage's transaction counter is damaged");
    // A crash right after a rotation leaves a counter that an older term wrote.
    const isActive = recordHeader(value)?.term === keyring.activeTerm;
    const encryptions = isActive ? counts.encryptions : 0;
    writers.set(number, { sequence: counts.sequence, revision: modRevision, encryptions });
  }
  if (!writers.has(0)) throw corrupt("the storage's transaction counter is missing");
  return { writers, revision };
}

/** Where a writer's transactions are counted. */
function counterKeyOf(writer: number): string {
  return writer === 0 ? SEQUENCE_PREFIX : `${SEQUENCE_PREFIX}/${writer}`;
}

/** The number of the writer whose counter is at a key of the store; undefined when there is none. */
export function writerOfCounter(key: string): number | undefined {
  if (key === SEQUENCE_PREFIX) return 0;
  const number = key.startsWith(`${SEQUENCE_PREFIX}/`) ? Number(key.slice(SEQUENCE_PREFIX.length + 1)) : NaN;
  return Number.isInteger(number) && number > 0 && number <= MAX_WRITER ? number : undefined;
}

/** More transactions than a vault does between two restores; there is room for 255 of them. */
const RESTORE_STEP = 2 ** 32;

/**
 * The value of a counter record that is far above `value`, for a store that was restored: whoever saw a later state of it
 * takes it for newer all the same.
 * @throws {RksError} STORAGE_CORRUPT
 */
export function advancedCounter(keyring: Keyring, value: Uint8Array): Uint8Array {
  const bytes = keyring.decrypt(SEQUENCE_PREFIX, value);
  const counts = bytes === undefined ? undefined : decodeCounts(bytes);
  if (counts === undefined) throw corrupt("the storage's transaction counter is damaged");
  const sequence = counts.sequence + RESTORE_STEP;
  return keyring.encrypt(SEQUENCE_PREFIX, sequence, encodeCounts({ ...counts, sequence }));
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
