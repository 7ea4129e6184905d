import { LinkedAbort, RksError } from "@rk8s/protocol";
import {
  type Change,
  type Comparison,
  copyWrite,
  type Entry,
  type ListRange,
  type Page,
  revisionOf,
  sizeOfWrite,
  type Storage,
  type TransactionResult,
  type Write,
} from "@rk8s/storage";

/** Transactions that wait for a switch to be over; as many, and as large, as the embedded store lets wait for its disk. */
const MAX_WAITING = 8192;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** A store that is used for a while, and how its revisions are given to callers. */
interface Era {
  readonly storage: Storage;
  /** Added to every revision of the store: revisions of a later store are above those of all before it. */
  readonly offset: number;
  /** Revisions from here on are this era's; what was read before is not comparable any more. */
  readonly first: number;
  /** Of the store itself: changes up to it are the copying. */
  readonly floor: number;
  readonly left: AbortController;
  /** What callers get is at most this, as what another era says is above it. */
  last: number;
  /** Calls under way. */
  busy: number;
}

/** What is held back while a store is exchanged. End it with `switchTo` or `resume`, once. */
export interface WritePause {
  /** The highest that callers were given: what is read meanwhile may raise it, where others write to the same server. */
  readonly revision: number;
  /**
   * Go on with another store that holds the same, whose own revision is `revision` at this moment. What waits is done there.
   * Resolves when nothing uses the old one any more.
   */
  switchTo(next: Storage, revision: number): Promise<void>;
  /** Go on with the store as before. */
  resume(): void;
  /** Waiting takes too long: whatever waits, or comes, is refused with `reason` until one of the others is called. */
  refuse(reason: RksError): void;
}

/**
 * A store that can be exchanged for a copy of itself while it is used. Transactions keep their order. Revisions are shifted,
 * so that they keep growing: whatever somebody read before the exchange and compares after it is a lost race, never a wrong
 * success; keys that must not exist are compared as always. A watch ends with CONFLICT, as after a compaction: list again.
 * Revisions are this process's own: they are not to be stored or sent.
 */
export class SwitchableStorage implements Storage {
  #era: Era;
  #paused = false;
  #refusal: RksError | undefined;
  #waiting: (() => void)[] = [];
  #waitingBytes = 0;
  #transactions = 0;
  #idle: (() => void)[] = [];
  #revision = 0;
  #listener: ((keys: readonly string[]) => void) | undefined;

  /** It owns the store. */
  constructor(storage: Storage) {
    this.#era = {
      storage,
      offset: 0,
      first: 0,
      floor: 0,
      left: new AbortController(),
      last: Infinity,
      busy: 0,
    };
  }

  /** The store that is used now, with revisions of its own. */
  get current(): Storage {
    return this.#era.storage;
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#during(async (era) => {
      const entry = await era.storage.get(key);
      return entry === undefined ? undefined : this.#shifted(entry, era);
    });
  }

  list(prefix: string, options?: ListRange): Promise<Page> {
    return this.#during(async (era) => {
      const page = await era.storage.list(prefix, options);
      const revision = this.#give(page.revision, era);
      return { ...page, revision, entries: page.entries.map((entry) => this.#shifted(entry, era)) };
    });
  }

  transaction(comparisons: readonly Comparison[], writes: readonly Write[]): Promise<TransactionResult> {
    if (!this.#paused) return this.#transact(comparisons, writes);
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    const bytes = writes.reduce((sum, write) => sum + sizeOfWrite(write), 0);
    const isFull = this.#waiting.length >= MAX_WAITING || this.#waitingBytes + bytes > MAX_WAITING_BYTES;
    if (isFull) return Promise.reject(tooManyWait());
    this.#waitingBytes += bytes;
    const kept = writes.map(copyWrite);
    return new Promise((resolve) => {
      this.#waiting.push(() =>
        resolve(
          this.#refusal === undefined ? this.#transact(comparisons, kept) : Promise.reject(this.#refusal),
        ),
      );
    });
  }

  async *watch(
    prefix: string,
    fromRevision: number,
    options: { readonly signal: AbortSignal },
  ): AsyncGenerator<Change, void, void> {
    const era = this.#era;
    if (fromRevision < era.first) throw exchanged(fromRevision);
    const from = Math.max(fromRevision - era.offset, era.floor + (era.first === 0 ? 0 : 1));
    using life = new LinkedAbort(options.signal, era.left.signal);
    for await (const change of era.storage.watch(prefix, from, { signal: life.signal })) {
      yield { ...change, revision: this.#give(change.revision, era) };
    }
    if (era.left.signal.aborted && !options.signal.aborted) throw exchanged(fromRevision);
  }

  /** Call `listener`, which must not throw, with the keys of each transaction that may have written. There is one. */
  onWritten(listener: ((keys: readonly string[]) => void) | undefined): void {
    this.#listener = listener;
  }

  /**
   * Hold back transactions from now on; resolves when those under way are over. Reading goes on.
   * @throws the signal's reason when it is aborted before, and then nothing is held back any more.
   */
  async pause(options: { readonly signal: AbortSignal }): Promise<WritePause> {
    if (this.#paused) throw new TypeError("the storage is paused already");
    const { signal } = options;
    signal.throwIfAborted();
    this.#paused = true;
    try {
      await this.#whenIdle(signal);
      await revisionOf(this);
      signal.throwIfAborted();
      return this.#pauseHere();
    } catch (reason) {
      this.#resume();
      throw reason;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#era.storage[Symbol.asyncDispose]();
  }

  #pauseHere(): WritePause {
    const highest = (): number => this.#revision;
    return {
      get revision() {
        return highest();
      },
      resume: () => this.#resume(),
      switchTo: (next, floor) => {
        const old = this.#era;
        const revision = highest();
        const left = new AbortController();
        old.last = revision;
        this.#era = {
          storage: next,
          offset: revision,
          first: revision + 1,
          floor,
          left,
          last: Infinity,
          busy: 0,
        };
        this.#revision = revision + floor;
        old.left.abort(exchanged(revision));
        this.#resume();
        return new Promise((resolve) => {
          const look = (): void => (old.busy === 0 ? resolve() : void this.#idle.push(look));
          look();
        });
      },
      refuse: (reason) => {
        this.#refusal = reason;
        this.#release();
      },
    };
  }

  #resume(): void {
    this.#paused = false;
    this.#refusal = undefined;
    this.#release();
  }

  #release(): void {
    this.#waitingBytes = 0;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** The store is called before this returns: the order of the calls is the order there. */
  #transact(comparisons: readonly Comparison[], writes: readonly Write[]): Promise<TransactionResult> {
    const own: Comparison[] = [];
    for (const { key, modRevision } of comparisons) {
      if (modRevision !== 0 && modRevision < this.#era.first) {
        return Promise.resolve({ succeeded: false, revision: this.#revision });
      }
      own.push({ key, modRevision: modRevision === 0 ? 0 : modRevision - this.#era.offset });
    }
    this.#transactions += 1;
    const done = this.#during(async (era) => {
      const result = await era.storage.transaction(own, writes);
      return { ...result, revision: this.#give(result.revision, era) };
    });
    return done.finally(() => {
      this.#transactions -= 1;
      if (writes.length > 0) this.#listener?.(writes.map(({ key }) => key));
      this.#wakeIdle();
    });
  }

  /** A revision of the store as callers get it. What comes when the store was left counts as of the exchange. */
  #give(revision: number, era: Era): number {
    const given = Math.min(revision + era.offset, era.last);
    this.#revision = Math.max(this.#revision, given);
    return given;
  }

  #shifted(entry: Entry, era: Era): Entry {
    const modRevision = this.#give(entry.modRevision, era);
    return { ...entry, createRevision: this.#give(entry.createRevision, era), modRevision };
  }

  async #during<T>(work: (era: Era) => Promise<T>): Promise<T> {
    const era = this.#era;
    era.busy += 1;
    try {
      return await work(era);
    } finally {
      era.busy -= 1;
      this.#wakeIdle();
    }
  }

  #whenIdle(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const give = (): void => reject(signal.reason as Error);
      signal.addEventListener("abort", give, { once: true });
      const look = (): void => {
        if (this.#transactions > 0) {
          this.#idle.push(look);
          return;
        }
        signal.removeEventListener("abort", give);
        resolve();
      };
      look();
    });
  }

  #wakeIdle(): void {
    for (const look of this.#idle.splice(0)) look();
  }
}

function exchanged(revision: number): RksError {
  return new RksError(
    "CONFLICT",
    `changes from revision ${revision} on were before the store was exchanged`,
    {
      suggestion: "List again and watch from the revision of that list.",
    },
  );
}

function tooManyWait(): RksError {
  return new RksError("BUSY", "too many transactions already wait for the store to be exchanged", {
    suggestion: "Try again in a moment.",
  });
}
