import { fromUtf8, RksError, utf8 } from "@rk8s/protocol";
import type { z } from "zod";
import { pagesOf } from "./pages.js";
import type { Comparison, Storage, Write } from "./storage.js";

/** A record as read, with what a later transaction compares. */
export interface Stored<T> {
  /** Under the collection's prefix. */
  readonly name: string;
  readonly record: T;
  readonly modRevision: number;
}

/** Records of one shape under one prefix of a store, as JSON, checked by a schema when read. */
export class RecordCollection<T> {
  readonly storage: Storage;
  protected readonly prefix: string;
  readonly #schema: z.ZodType<T>;

  constructor(storage: Storage, prefix: string, schema: z.ZodType<T>) {
    this.storage = storage;
    this.prefix = prefix;
    this.#schema = schema;
  }

  /** @throws {RksError} STORAGE_CORRUPT when what is stored is not such a record, and as `Storage.get`. */
  async read(name: string): Promise<Stored<T> | undefined> {
    const entry = await this.storage.get(this.prefix + name);
    if (entry === undefined) return undefined;
    return { name, record: this.#decode(entry.key, entry.value), modRevision: entry.modRevision };
  }

  /**
   * Every record whose name starts with `under` and follows the name `afterName`, in the order of their names,
   * page by page.
   */
  async *list(under = "", afterName = under): AsyncGenerator<Stored<T>, void, void> {
    for await (const entries of pagesOf(this.storage, this.prefix + under, {
      after: this.prefix + afterName,
    })) {
      for (const { key, value, modRevision } of entries) {
        yield { name: key.slice(this.prefix.length), record: this.#decode(key, value), modRevision };
      }
    }
  }

  /** For a transaction: write this record. */
  put(name: string, record: T): Write {
    return { type: "put", key: this.prefix + name, value: utf8(JSON.stringify(record)) };
  }

  /** For a transaction: delete this record. */
  delete(name: string): Write {
    return { type: "delete", key: this.prefix + name };
  }

  /** For a transaction: the record must be as it was read, or must still not exist. */
  unchanged(name: string, stored: Pick<Stored<T>, "modRevision"> | undefined): Comparison {
    return { key: this.prefix + name, modRevision: stored?.modRevision ?? 0 };
  }

  #decode(key: string, value: Uint8Array): T {
    try {
      return this.#schema.parse(JSON.parse(fromUtf8(value)));
    } catch (cause) {
      throw new RksError("STORAGE_CORRUPT", `the record "${key}" cannot be read`, {
        cause,
        suggestion: "Restore the data folder from a backup, and report this.",
      });
    }
  }
}
