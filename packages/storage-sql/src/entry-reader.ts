import { RksError } from "@rk8s/protocol";
import { busy } from "@rk8s/storage";
import type { Entry } from "@rk8s/storage";

import { readEntries } from "./read-entries.js";
import type { Database } from "./connection/database.js";

/** Keys of one statement: enough to share its round trip, few enough that the largest values fit into memory. */
const MAX_KEYS = 64;
/** Statements on their way at once; the other sessions are for lists and watches. */
const MAX_STATEMENTS = 2;
/** Reads that wait; more than this and a caller is told to come back. */
const MAX_WAITING = 8192;

interface Reader {
  readonly key: string;
  resolve(entry: Entry | undefined): void;
  reject(error: RksError): void;
}

/**
 * Reads single keys. Reads that wait while others are on their way share the next statement; each is part of one that begins
 * after it was asked for, so it sees what was stored before.
 */
export class EntryReader {
  readonly #db: Database;
  #waiting: Reader[] = [];
  #running = 0;

  constructor(db: Database) {
    this.#db = db;
  }

  /** @throws {RksError} BUSY when too many wait, and what the database answers. */
  read(key: string): Promise<Entry | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length >= MAX_WAITING) {
        throw busy("too many requests already wait for the database");
      }
      this.#waiting.push({ key, resolve, reject });
      if (this.#running < MAX_STATEMENTS) void this.#run();
    });
  }

  /** Never throws: each reader gets the error. */
  async #run(): Promise<void> {
    this.#running += 1;
    while (this.#waiting.length > 0) {
      const readers = this.#waiting.splice(0, MAX_KEYS);
      try {
        const entries = await readEntries(this.#db, new Set(readers.map(({ key }) => key)));
        for (const reader of readers) reader.resolve(entries.get(reader.key)?.());
      } catch (reason) {
        for (const reader of readers) reader.reject(RksError.from(reason));
      }
    }
    this.#running -= 1;
  }
}
