import { createRequire } from "node:module";

import { RksError } from "@rk8s/protocol";
// lmdb's declarations for ESM do not compile (`export =`), so both types and code come from its CommonJS side.
import type lmdb from "lmdb" with { "resolution-mode": "require" };

import { assertListRange, assertTransaction } from "../assert-request.js";
import { ChangeLog } from "../change-log.js";
import { assertKey } from "../key.js";
import { busy, storageClosed } from "../storage-errors.js";
import { copyWrite, sizeOfWrite } from "../write.js";
import { lmdbError } from "./lmdb-error.js";
import { prepareLmdbFolder } from "./lmdb-folder.js";
import type {
  Change,
  Comparison,
  Entry,
  ListRange,
  Page,
  Storage,
  TransactionResult,
  Write,
} from "../storage.js";

export interface LmdbStorageInit {
  /** Made when missing (0700); holds `data.mdb` and `lock.mdb` (0600) and nothing else of ours. */
  readonly folder: string;
}

/** Address space, not disk or memory; lmdb maps more by itself when the file outgrows it. */
const MAP_BYTES = 1024 ** 3;
/** Transactions that wait for the disk; more than this and a caller is told to come back. */
const MAX_PENDING = 8192;
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
/** Transactions that share one commit, so that the event loop is held only for a few milliseconds at a time. */
const MAX_BATCH = 256;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
/** Create and mod revision, 48 bits each, before the value. */
const HEADER_BYTES = 12;
const REVISION_KEY = Buffer.from("revision");

type BinaryDatabase = lmdb.Database<Uint8Array, Uint8Array>;

interface Pending {
  readonly comparisons: readonly Comparison[];
  readonly writes: readonly Write[];
  readonly bytes: number;
  resolve(result: TransactionResult): void;
  reject(error: RksError): void;
}

/**
 * Open the durable store in a folder. Transactions are applied in the order of the calls; those of one turn of the
 * event loop share one commit and each is durable (data and metadata synchronised) before it resolves. Two openers
 * of one folder would each keep revisions and watchers of their own: the caller must hold a lock on the folder.
 * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE or STORAGE_CORRUPT
 */
export async function openLmdbStorage(init: LmdbStorageInit): Promise<Storage> {
  const { folder } = init;
  try {
    await prepareLmdbFolder(folder);
    const { open } = requireLmdb();
    const root = open<Uint8Array, Uint8Array>({
      path: folder,
      noSubdir: false,
      encoding: "binary",
      keyEncoding: "binary",
      maxDbs: 2,
      mapSize: MAP_BYTES,
      overlappingSync: false,
    });
    return new LmdbStorage(folder, root);
  } catch (reason) {
    throw lmdbError(folder, reason);
  }
}

/** Loaded when the first store is opened: reading its native part takes tens of milliseconds. */
function requireLmdb(): typeof lmdb {
  return createRequire(import.meta.url)("lmdb") as typeof lmdb;
}

class LmdbStorage implements Storage {
  readonly #folder: string;
  readonly #root: lmdb.RootDatabase<Uint8Array, Uint8Array>;
  readonly #entries: BinaryDatabase;
  readonly #meta: BinaryDatabase;
  readonly #changes: ChangeLog;
  #revision: number;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #closed: RksError | undefined;
  #closing: Promise<void> | undefined;

  constructor(folder: string, root: lmdb.RootDatabase<Uint8Array, Uint8Array>) {
    this.#folder = folder;
    this.#root = root;
    this.#entries = root.openDB("entries", { encoding: "binary", keyEncoding: "binary" });
    this.#meta = root.openDB("meta", { encoding: "binary", keyEncoding: "binary" });
    const revision = this.#meta.get(REVISION_KEY);
    this.#revision = revision === undefined ? 0 : Buffer.from(revision).readUIntBE(0, 6);
    this.#changes = new ChangeLog(this.#revision);
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#read(() => {
      assertKey(key);
      return this.#entry(key);
    });
  }

  list(prefix: string, options?: ListRange): Promise<Page> {
    return this.#read(() => {
      const { after, limit } = assertListRange(prefix, options);
      const [first, last] = keyRange(prefix, after);
      const range = this.#entries.getRange({ start: first, end: last, limit: limit + 1 });
      const entries: Entry[] = [];
      for (const { key, value } of range) entries.push(decode(Buffer.from(key).toString(), value));
      const more = entries.length > limit;
      if (more) entries.pop();
      return { entries, more, revision: this.#revision };
    });
  }

  transaction(comparisons: readonly Comparison[], writes: readonly Write[]): Promise<TransactionResult> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) throw this.#closed;
      assertTransaction(comparisons, writes);
      const bytes = writes.reduce((sum, write) => sum + sizeOfWrite(write), 0);
      if (this.#pending.length >= MAX_PENDING || this.#pendingBytes + bytes > MAX_PENDING_BYTES) {
        throw busy("too many transactions already wait for the disk");
      }
      this.#pendingBytes += bytes;
      this.#pending.push({ comparisons, writes: writes.map(copyWrite), bytes, resolve, reject });
      if (this.#pending.length === 1) setImmediate(() => this.#flush());
    });
  }

  watch(
    prefix: string,
    fromRevision: number,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<Change> {
    return this.#changes.watch(prefix, fromRevision, options.signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    while (this.#pending.length > 0) this.#flush();
    this.#closed = storageClosed();
    this.#changes.close(this.#closed);
    await this.#root.close();
  }

  #read<T>(action: () => T): Promise<T> {
    return new Promise((resolve) => {
      if (this.#closed !== undefined) throw this.#closed;
      try {
        resolve(action());
      } catch (reason) {
        throw reason instanceof TypeError ? reason : lmdbError(this.#folder, reason);
      }
    });
  }

  #entry(key: string): Entry | undefined {
    const stored = this.#entries.get(Buffer.from(key));
    return stored === undefined ? undefined : decode(key, stored);
  }

  /** Commit what waits, together; when the shared commit fails, one by one, so that each fails only for itself. */
  #flush(): void {
    const batch = this.#nextBatch();
    if (this.#pending.length > 0) setImmediate(() => this.#flush());
    if (batch.length === 0) return;
    try {
      this.#commit(batch);
    } catch (reason) {
      if (batch.length === 1) batch[0]?.reject(lmdbError(this.#folder, reason));
      else for (const pending of batch) this.#commitAlone(pending);
    }
  }

  #nextBatch(): readonly Pending[] {
    let count = 0;
    let bytes = 0;
    for (const pending of this.#pending.slice(0, MAX_BATCH)) {
      if (count > 0 && bytes + pending.bytes > MAX_BATCH_BYTES) break;
      count += 1;
      bytes += pending.bytes;
    }
    this.#pendingBytes -= bytes;
    return this.#pending.splice(0, count);
  }

  #commitAlone(pending: Pending): void {
    try {
      this.#commit([pending]);
    } catch (reason) {
      pending.reject(lmdbError(this.#folder, reason));
    }
  }

  /**
   * `transactionSync`, because lmdb's asynchronous transactions never answer when the disk is full (3.5.6, seen).
   * It costs the event loop one synchronisation of the disk per batch.
   */
  #commit(batch: readonly Pending[]): void {
    const before = this.#revision;
    const results: TransactionResult[] = [];
    const changes: Change[][] = [];
    try {
      this.#root.transactionSync(() => {
        for (const { comparisons, writes } of batch) {
          const succeeded = this.#holds(comparisons);
          if (succeeded) changes.push(this.#apply(writes));
          results.push({ succeeded, revision: this.#revision });
        }
        if (this.#revision !== before) this.#meta.putSync(REVISION_KEY, revisionBytes(this.#revision));
      });
    } catch (reason) {
      this.#revision = before;
      throw reason;
    }
    for (const ofOne of changes) this.#changes.append(ofOne);
    for (const [index, result] of results.entries()) batch[index]?.resolve(result);
  }

  #holds(comparisons: readonly Comparison[]): boolean {
    return comparisons.every(({ key, modRevision }) => (this.#entry(key)?.modRevision ?? 0) === modRevision);
  }

  #apply(writes: readonly Write[]): Change[] {
    const revision = this.#revision + 1;
    const changes: Change[] = [];
    for (const write of writes) {
      const key = Buffer.from(write.key);
      const old = this.#entries.get(key);
      if (write.type === "delete") {
        if (old === undefined) continue;
        this.#entries.removeSync(key);
        changes.push({ key: write.key, value: undefined, revision });
      } else {
        const created = old === undefined ? revision : decode(write.key, old).createRevision;
        this.#entries.putSync(key, encode(created, revision, write.value));
        changes.push({ key: write.key, value: write.value, revision });
      }
    }
    if (changes.length > 0) this.#revision = revision;
    return changes;
  }
}

/** First and last possible key, last exclusive: UTF-8 holds no byte 0xff, and `key ‖ 0x00` is what follows `key`. */
function keyRange(prefix: string, after: string): [Uint8Array, Uint8Array] {
  const prefixBytes = Buffer.from(prefix);
  const afterBytes = Buffer.concat([Buffer.from(after), Buffer.of(0)]);
  const first = after === "" || Buffer.compare(prefixBytes, afterBytes) > 0 ? prefixBytes : afterBytes;
  // LMDB has no empty keys, so nothing sorts before one zero byte.
  return [first.length === 0 ? Buffer.of(0) : first, Buffer.concat([prefixBytes, Buffer.of(0xff)])];
}

function encode(createRevision: number, modRevision: number, value: Uint8Array): Uint8Array {
  const stored = Buffer.allocUnsafe(HEADER_BYTES + value.byteLength);
  stored.writeUIntBE(createRevision, 0, 6);
  stored.writeUIntBE(modRevision, 6, 6);
  stored.set(value, HEADER_BYTES);
  return stored;
}

function decode(key: string, stored: Uint8Array): Entry {
  const buffer = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  if (buffer.length < HEADER_BYTES) {
    throw new RksError("STORAGE_CORRUPT", `the entry "${key}" is cut short`, {
      suggestion: "Restore the data folder from a backup.",
    });
  }
  return {
    key,
    value: Uint8Array.from(buffer.subarray(HEADER_BYTES)),
    createRevision: buffer.readUIntBE(0, 6),
    modRevision: buffer.readUIntBE(6, 6),
  };
}

function revisionBytes(revision: number): Uint8Array {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(revision, 0, 6);
  return bytes;
}
