import { type Clock, LinkedAbort } from "@rk8s/protocol";
import { assertKey, assertListRange, storageClosed } from "@rk8s/storage";
import type {
  Change,
  Comparison,
  Entry,
  ListRange,
  Page,
  Storage,
  TransactionResult,
  Write,
} from "@rk8s/storage";

import { readChanges } from "./read-changes.js";
import { EntryReader } from "./entry-reader.js";
import { readPage } from "./read-entries.js";
import { untilAnswered } from "./until-answered.js";
import type { Database } from "./connection/database.js";
import type { News } from "./news.js";
import type { ChangePage, Cursor } from "./read-changes.js";
import type { WriteQueue } from "./write-queue.js";

export interface SqlStorageParts {
  /** For reading; the queue has one of its own, so that no crowd of readers delays a write. */
  readonly db: Database;
  readonly queue: WriteQueue;
  readonly news: News;
  readonly clock: Clock;
  /** Called once, when what was asked for is done: end everything that the parts stand on. */
  release(): Promise<void>;
}

/** How long a read is tried again while the server is away: longer than its restart takes. */
const READ_MS = 5000;

/** The storage port on tables of an SQL server. */
export class SqlStorage implements Storage {
  readonly #parts: SqlStorageParts;
  readonly #entries: EntryReader;
  readonly #closed = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(parts: SqlStorageParts) {
    this.#parts = parts;
    this.#entries = new EntryReader(parts.db);
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#read(() => {
      assertKey(key);
      return this.#entries.read(key);
    });
  }

  list(prefix: string, options?: ListRange): Promise<Page> {
    return this.#read(() => readPage(this.#parts.db, prefix, assertListRange(prefix, options)));
  }

  async transaction(
    comparisons: readonly Comparison[],
    writes: readonly Write[],
  ): Promise<TransactionResult> {
    this.#assertOpen();
    return this.#parts.queue.submit(comparisons, writes);
  }

  async *watch(
    prefix: string,
    fromRevision: number,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<Change, void, void> {
    assertListRange(prefix, undefined);
    using either = new LinkedAbort(signal, this.#closed.signal);
    let cursor: Cursor = { revision: fromRevision - 1, attempt: undefined };
    while (!signal.aborted) {
      const { count } = this.#parts.news;
      let page: ChangePage;
      try {
        page = await this.#changes(prefix, cursor, either.signal);
      } catch (reason) {
        if (signal.aborted) return;
        throw reason;
      }
      for (const change of page.changes) {
        yield change;
        if (signal.aborted) return;
      }
      cursor = page.cursor;
      if (!page.more) await this.#parts.news.next(count, signal);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed.abort(storageClosed());
    this.#parts.news.wake();
    await this.#parts.queue.drained();
    await this.#parts.release();
  }

  async #read<T>(work: () => Promise<T>): Promise<T> {
    return untilAnswered(
      async () => {
        this.#assertOpen();
        return work();
      },
      { clock: this.#parts.clock, timeoutMs: READ_MS, signal: this.#closed.signal },
    );
  }

  /** The next page for a watcher, however long the server is away. */
  #changes(prefix: string, cursor: Cursor, signal: AbortSignal): Promise<ChangePage> {
    return untilAnswered(
      () => {
        signal.throwIfAborted();
        return readChanges(this.#parts.db, prefix, cursor);
      },
      { clock: this.#parts.clock, timeoutMs: Infinity, signal },
    );
  }

  #assertOpen(): void {
    this.#closed.signal.throwIfAborted();
  }
}
