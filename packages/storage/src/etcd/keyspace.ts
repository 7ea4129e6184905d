import type { Entry } from "../storage.js";
import type { KeyRange, KeyValue } from "./messages.js";
import { assertStorePrefix } from "./prefix.js";

/** After every key with the same beginning: UTF-8 holds no such byte. */
const AFTER_ALL = Buffer.of(0xff);

/**
 * Where a store's keys are in etcd: entries under `<prefix>/d/`, the clients' attempt records under `<prefix>/a/`. etcd orders keys by
 * their bytes, as the port does.
 */
export class Keyspace {
  readonly #data: string;
  readonly #dataBytes: number;
  readonly #attempts: string;

  /** @throws {RksError} as `assertStorePrefix`. */
  constructor(prefix: string) {
    assertStorePrefix(prefix);
    this.#data = `${prefix}/d/`;
    this.#dataBytes = Buffer.byteLength(this.#data);
    this.#attempts = `${prefix}/a/`;
  }

  encode(key: string): Buffer {
    return Buffer.from(this.#data + key);
  }

  /** What etcd stores, as the port gives it. */
  entry({ key, value, createRevision, modRevision }: KeyValue): Entry {
    const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
    return { key: bytes.toString("utf8", this.#dataBytes), value, createRevision, modRevision };
  }

  /** The keys that start with `prefix` and follow `after`. */
  range(prefix: string, after: string): KeyRange {
    const first = this.encode(prefix);
    const following = after === "" ? first : Buffer.concat([this.encode(after), Buffer.of(0)]);
    const end = Buffer.concat([first, AFTER_ALL]);
    const key = Buffer.compare(first, following) > 0 ? first : following;
    // etcd takes no range that ends before it begins; nothing is ever stored under this key.
    return Buffer.compare(key, end) < 0 ? { key, end } : { key: end };
  }

  /** Where the client writes what it is doing. */
  attemptKey(client: string): Buffer {
    return Buffer.from(this.#attempts + client);
  }

  /** All clients' attempt records. */
  attemptRange(): KeyRange {
    const first = Buffer.from(this.#attempts);
    return { key: first, end: Buffer.concat([first, AFTER_ALL]) };
  }
}
