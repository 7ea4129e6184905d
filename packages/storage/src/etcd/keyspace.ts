import { RksError } from "@rk8s/protocol";

import { assertWellFormed } from "../key.js";
import type { Entry } from "../storage.js";
import type { KeyRange, KeyValue } from "./messages.js";

/** A transaction may name it 254 times, and its size is bounded. */
const MAX_PREFIX_BYTES = 64;
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

  /** @throws {RksError} CONFIG_INVALID */
  constructor(prefix: string) {
    assertPrefix(prefix);
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

function assertPrefix(prefix: string): void {
  assertWellFormed(prefix);
  const bytes = Buffer.byteLength(prefix);
  if (bytes > 0 && bytes <= MAX_PREFIX_BYTES && !prefix.endsWith("/")) return;
  throw new RksError("CONFIG_INVALID", `the store's prefix "${prefix.slice(0, 40)}" cannot be used`, {
    suggestion: `Use 1 to ${MAX_PREFIX_BYTES} bytes that do not end with a slash, for example rk8s/blue.`,
  });
}
