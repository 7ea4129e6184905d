import { fromUtf8, RksError, utf8 } from "@rk8s/protocol";
import type { z } from "zod";

import type { Comparison, Storage, Write } from "../storage/storage.js";
import { listFolder } from "../vault/list-folder.js";

/** Of many that change one record at the same time each round lets one through. */
const MAX_ATTEMPTS = 256;

/** A record as it was read, with what a later transaction compares. */
export interface StoredRecord<T> {
  readonly record: T;
  readonly modRevision: number;
}

/** What becomes of a record, and what is written with it or not at all. */
export interface RecordChange<T> {
  /** Undefined: it stays; null: it goes. */
  readonly record?: T | null;
  readonly comparisons?: readonly Comparison[];
  readonly writes?: readonly Write[];
}

/** Records of one shape under one prefix of the barrier, as JSON, checked when read. */
export class StoredRecords<T extends object> {
  readonly storage: Storage;
  readonly #prefix: string;
  readonly #schema: z.ZodType<T>;

  constructor(storage: Storage, prefix: string, schema: z.ZodType<T>) {
    this.storage = storage;
    this.#prefix = prefix;
    this.#schema = schema;
  }

  /** @throws {RksError} STORAGE_CORRUPT when what is stored is not such a record. */
  async find(name: string): Promise<StoredRecord<T> | undefined> {
    const entry = await this.storage.get(this.#prefix + name);
    if (entry === undefined) return undefined;
    return { record: this.#decode(entry.key, entry.value), modRevision: entry.modRevision };
  }

  /** The names right below the prefix and `under`, in order. */
  async names(under = ""): Promise<readonly string[]> {
    return listFolder(this.storage, this.#prefix + under);
  }

  /**
   * Change a record in one transaction. `decide` is asked again, with what the record has become, when somebody else was
   * faster; what it throws ends the change.
   * @throws {RksError} CONFLICT when others are faster again and again.
   */
  async change(
    name: string,
    decide: (stored: T | undefined) => RecordChange<T> | Promise<RecordChange<T>>,
  ): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const stored = await this.find(name);
      const { record, comparisons = [], writes = [] } = await decide(stored?.record);
      if (record === undefined) return;
      const own = record === null ? this.delete(name) : this.put(name, record);
      const { succeeded } = await this.storage.transaction(
        [this.unchanged(name, stored), ...comparisons],
        [own, ...writes],
      );
      if (succeeded) return;
    }
    throw new RksError("CONFLICT", `"${name.slice(0, 80)}" is being changed by many at this moment`, {
      suggestion: "Try again.",
    });
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
  unchanged(name: string, stored: StoredRecord<T> | undefined): Comparison {
    return { key: this.#prefix + name, modRevision: stored?.modRevision ?? 0 };
  }

  #decode(key: string, value: Uint8Array): T {
    try {
      return this.#schema.parse(JSON.parse(fromUtf8(value)));
    } catch (cause) {
      throw new RksError("STORAGE_CORRUPT", `the record "${key}" cannot be read`, {
        cause,
        suggestion: "Restore the data folder from the newest backup.",
      });
    }
  }
}
