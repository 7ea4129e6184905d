import type { RksError } from "@rk8s/protocol";

import { assertListRange, assertTransaction } from "./assert-request.js";
import { ChangeLog } from "./change-log.js";
import { assertKey, compareKeys } from "./key.js";
import { storageClosed } from "./storage-errors.js";
import type {
  Change,
  Comparison,
  Entry,
  ListRange,
  Page,
  Storage,
  TransactionResult,
  Write,
} from "./storage.js";

/** Open a store that lives in this process and ends with it: for tests and for trying things out. */
export function memoryStorage(): Storage {
  return new MemoryStorage();
}

class MemoryStorage implements Storage {
  readonly #entries = new Map<string, Entry>();
  /** The keys in order; rebuilt when a list is asked for after keys came or went. */
  #sorted: string[] | undefined = [];
  #revision = 0;
  readonly #changes = new ChangeLog(0);
  #closed: RksError | undefined;

  get(key: string): Promise<Entry | undefined> {
    return attempt(() => this.#get(key));
  }

  list(prefix: string, options?: ListRange): Promise<Page> {
    return attempt(() => this.#list(prefix, options));
  }

  transaction(comparisons: readonly Comparison[], writes: readonly Write[]): Promise<TransactionResult> {
    return attempt(() => this.#transaction(comparisons, writes));
  }

  watch(
    prefix: string,
    fromRevision: number,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<Change> {
    return this.#changes.watch(prefix, fromRevision, options.signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= storageClosed();
    this.#changes.close(this.#closed);
    this.#entries.clear();
    return Promise.resolve();
  }

  #get(key: string): Entry | undefined {
    this.#assertOpen();
    assertKey(key);
    const entry = this.#entries.get(key);
    return entry === undefined ? undefined : copy(entry);
  }

  #list(prefix: string, options: ListRange | undefined): Page {
    this.#assertOpen();
    const { after, limit } = assertListRange(prefix, options);
    this.#sorted ??= [...this.#entries.keys()].toSorted(compareKeys);
    const keys = this.#sorted;
    const entries: Entry[] = [];
    let more = false;
    let index = lowerBound(keys, compareKeys(prefix, after) > 0 ? prefix : after);
    for (; index < keys.length && !more; index += 1) {
      const key = keys[index] ?? "";
      if (key === after) continue;
      if (!key.startsWith(prefix)) break;
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      if (entries.length < limit) entries.push(copy(entry));
      else more = true;
    }
    return { entries, more, revision: this.#revision };
  }

  #transaction(comparisons: readonly Comparison[], writes: readonly Write[]): TransactionResult {
    this.#assertOpen();
    assertTransaction(comparisons, writes);
    for (const { key, modRevision } of comparisons) {
      if ((this.#entries.get(key)?.modRevision ?? 0) !== modRevision) {
        return { succeeded: false, revision: this.#revision };
      }
    }
    const revision = this.#revision + 1;
    const changes: Change[] = [];
    for (const write of writes) {
      const old = this.#entries.get(write.key);
      if (write.type === "delete") {
        if (!this.#entries.delete(write.key)) continue;
        this.#sorted = undefined;
        changes.push({ key: write.key, value: undefined, revision });
        continue;
      }
      const value = Uint8Array.from(write.value);
      const createRevision = old?.createRevision ?? revision;
      this.#entries.set(write.key, { key: write.key, value, createRevision, modRevision: revision });
      if (old === undefined) this.#sorted = undefined;
      changes.push({ key: write.key, value: Uint8Array.from(value), revision });
    }
    if (changes.length > 0) {
      this.#revision = revision;
      this.#changes.append(changes);
    }
    return { succeeded: true, revision: this.#revision };
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }
}

/** Run `action` now; what it throws becomes a rejection. */
function attempt<T>(action: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(action());
  });
}

function copy(entry: Entry): Entry {
  return { ...entry, value: Uint8Array.from(entry.value) };
}

/** Index of the first key that is not before `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(keys[middle] ?? "", key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
