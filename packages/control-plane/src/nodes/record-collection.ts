import { fromUtf8, RksError, utf8 } from "@rk8s/protocol";
import type { z } from "zod";
import type { Comparison, Storage, Write } from "../storage/storage.js";

/** A record as read, with what a later transaction compares. */
export interface Stored<T> {
  /** Under the collection's prefix. */
  readonly name: string;
  readonly record: T;
  readonly modRevision: number;
}

/** Records of one shape under one prefix of a store, as JSON, checked by a schema when read. */
export class RecordCollection<T> {
  readonly #storage: Storage;
  readonly #prefix: string;
  readonly #schema: z.ZodType<T>;

  constructor(storage: Storage, prefix: string, schema: z.ZodType<T>) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#schema = schema;
  }

  /** @throws {RksError} STORAGE_CORRUPT when what is stored is not such a record, and as `Storage.get`. */
  async read(name: string): Promise<Stored<T> | undefined> {
    const entry = await this.#storage.get(this.#prefix + name);
    if (entry === undefined) return undefined;
    return { name, record: this.#decode(entry.key, entry.value), modRevision: entry.modRevision };
  }

  /**
   * Every record whose name starts with `under` and follows the name `afterName`, in the order of their names,
   * page by page.
   */
  async *list(under = "", afterName = under): AsyncGenerator<Stored<T>, void, void> {
    const prefix = this.#prefix + under;
    for (let after: string | undefined = this.#prefix + afterName; after !== undefined;) {
      const page: Awaited<ReturnType<Storage["list"]>> = await this.#storage.list(prefix, { after });
      for (const { key, value, modRevision } of page.entries) {
        yield { name: key.slice(this.#prefix.length), record: this.#decode(key, value), modRevision };
      }
      after = page.more ? page.entries.at(-1)?.key : undefined;
    }
  }

  /** For a transaction: write this record. */
  put(name: string, record: T): Write {
    return { type: "put", key: this.#prefix + name, value: utf8(JSON.stringify(record)) };
  }

  /** For a transaction: delete this record. */
  delete(name: string): Write {
    return { type: "delete", key: this.#prefix + name };
  }

  /** For a transaction: the record must be as it was read, or must still not exist. */
  unchanged(name: string, stored: Stored<T> | undefined): Comparison {
    return { key: this.#prefix + name, modRevision: stored?.modRevision ?? 0 };
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
