import { randomUUID } from "node:crypto";
import { type Clock, fromUtf8, LinkedAbort, RksError, utf8, withDeadline } from "@rk8s/protocol";
import {
  type Change,
  type Entry,
  MAX_TRANSACTION_WRITES,
  pagesOf,
  revisionOf,
  type Storage,
  type Write,
} from "@rk8s/storage";
import { inTransactions } from "../migration/key-range.js";

/** Written to the source, so that whoever watches it knows how far it has seen. */
const MARK_KEY = "storage/backup";
/** Entries that are read at a time, and written with few commits. */
const PAGE_ENTRIES = 512;
/** Keys that may change meanwhile; some hundred bytes of memory each. */
const MAX_CHANGED_KEYS = 1_000_000;
/** Values that wait to be written. */
const MAX_PENDING_BYTES = 1_000_000;
/** Values that are handed to the copy at a time: half of what an embedded store lets wait for its disk. */
const MAX_HANDED_BYTES = 32 * 1024 * 1024;
/** From the mark to the news of it. */
const MAX_LAG_MS = 30_000;

export interface SnapshotInit {
  /** Anybody may write to it, other processes too; nobody has to wait. */
  readonly source: Storage;
  /** Empty, and nobody else's. */
  readonly copy: Storage;
  /** Whether a key is copied. */
  readonly isKept: (key: string) => boolean;
}

/**
 * Make a store what another one is at one revision, which comes after everything that was written before the call. The pages
 * that are read are of different revisions; the changes that are heard meanwhile, up to a mark, make one of them. Gives the
 * time of the mark.
 * @throws {RksError} CONFLICT when the source forgets changes faster than they are read; BUSY when too much is written meanwhile;
 * TIMED_OUT; and as the stores do, STORAGE_FULL for the mark too; the signal's reason.
 */
export async function copySnapshot(
  { source, copy, isKept }: SnapshotInit,
  clock: Clock,
  signal: AbortSignal,
): Promise<Date> {
  const from = (await revisionOf(source)) + 1;
  const over = new LinkedAbort(signal);
  const { signal: inner } = over;
  const follower = new Follower(copy, isKept);
  const mark = randomUUID();
  const changes = source.watch("", from, { signal: inner });
  const followed = follower.until(mark, changes).catch((reason: unknown) => {
    throw RksError.from(reason).code === "CONFLICT" ? forgotten(reason) : reason;
  });
  // What keeps it from following ends the copying.
  followed.catch((reason: unknown) => over.abort(reason));
  try {
    for await (const entries of pagesOf(source, "", { limit: PAGE_ENTRIES })) {
      inner.throwIfAborted();
      await follower.put(entries.filter(({ key }) => isKept(key)));
    }
    await source.transaction([], [{ type: "put", key: MARK_KEY, value: utf8(mark) }]);
    const at = new Date(clock.now());
    const attempt = "what was written meanwhile could not be read";
    await withDeadline(() => followed, { clock, timeoutMs: MAX_LAG_MS, attempt, signal });
    return at;
  } finally {
    over.abort();
    await followed.catch(() => undefined);
  }
}

/** Writes to the copy what is read and what is heard; the order of its transactions is the order of the calls. */
class Follower {
  readonly #copy: Storage;
  readonly #isKept: (key: string) => boolean;
  /** When a key was changed last, of those that were heard. */
  readonly #changed = new Map<string, number>();
  #pending = new Map<string, Write>();
  #pendingBytes = 0;

  constructor(copy: Storage, isKept: (key: string) => boolean) {
    this.#copy = copy;
    this.#isKept = isKept;
  }

  /** Entries as they were read; one that was heard to be newer, or gone, until it is handed over, stays as it was heard. */
  async put(entries: readonly Entry[]): Promise<void> {
    for (const portion of portionsOf(entries)) {
      const writes = portion
        .filter(({ key, modRevision }) => modRevision >= (this.#changed.get(key) ?? 0))
        .map(({ key, value }): Write => ({ type: "put", key, value }));
      await this.#write(writes);
    }
  }

  /** Take in changes until the mark is among them. An older value than was read is followed by the newer one. */
  async until(mark: string, changes: AsyncIterable<Change>): Promise<void> {
    for await (const change of changes) {
      const { key, value, revision } = change;
      if (key === MARK_KEY && value !== undefined && fromUtf8(value) === mark) {
        await this.#flush();
        return;
      }
      if (!this.#isKept(key)) continue;
      this.#changed.set(key, revision);
      if (this.#changed.size > MAX_CHANGED_KEYS) throw tooBusy();
      this.#pending.set(key, value === undefined ? { type: "delete", key } : { type: "put", key, value });
      this.#pendingBytes += value?.byteLength ?? 0;
      const isMuch = this.#pending.size >= MAX_TRANSACTION_WRITES || this.#pendingBytes > MAX_PENDING_BYTES;
      if (isMuch) await this.#flush();
    }
    throw new RksError("CONNECTION_LOST", "the store said no more of its changes", {
      suggestion: "Try again.",
    });
  }

  async #flush(): Promise<void> {
    const writes = [...this.#pending.values()];
    this.#pending = new Map();
    this.#pendingBytes = 0;
    await this.#write(writes);
  }

  /** All are handed over before this returns. */
  async #write(writes: readonly Write[]): Promise<void> {
    await Promise.all([...inTransactions(writes)].map((batch) => this.#copy.transaction([], batch)));
  }
}

function* portionsOf(entries: readonly Entry[]): Generator<readonly Entry[], void, void> {
  let portion: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (portion.length > 0 && bytes + entry.value.byteLength > MAX_HANDED_BYTES) {
      yield portion;
      portion = [];
      bytes = 0;
    }
    portion.push(entry);
    bytes += entry.value.byteLength;
  }
  if (portion.length > 0) yield portion;
}

function forgotten(cause: unknown): RksError {
  return new RksError("CONFLICT", "changes of the store were forgotten before they could be copied", {
    cause,
    suggestion: "Run `rks storage backup FILE` again when less is written.",
  });
}

function tooBusy(): RksError {
  return new RksError("BUSY", `more than ${MAX_CHANGED_KEYS} keys were written while the store was copied`, {
    suggestion: "Try again when less is written.",
  });
}
