import { assertTransaction } from "./assert-request.js";
import { assertKey } from "./key.js";
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

/**
 * A view of a store in which every key is short of `prefix`. Disposing the view leaves the store open. The longest
 * possible key is shorter by the prefix.
 */
export function prefixedStorage(storage: Storage, prefix: string): Storage {
  return new PrefixedStorage(storage, prefix);
}

class PrefixedStorage implements Storage {
  readonly #storage: Storage;
  readonly #prefix: string;

  constructor(storage: Storage, prefix: string) {
    this.#storage = storage;
    this.#prefix = prefix;
  }

  async get(key: string): Promise<Entry | undefined> {
    assertKey(key);
    const entry = await this.#storage.get(this.#prefix + key);
    return entry === undefined ? undefined : { ...entry, key };
  }

  async list(prefix: string, options: ListRange = {}): Promise<Page> {
    const after = options.after === undefined ? {} : { after: this.#prefix + options.after };
    const page = await this.#storage.list(this.#prefix + prefix, { ...options, ...after });
    return { ...page, entries: page.entries.map((entry) => ({ ...entry, key: this.#short(entry.key) })) };
  }

  async transaction(
    comparisons: readonly Comparison[],
    writes: readonly Write[],
  ): Promise<TransactionResult> {
    assertTransaction(comparisons, writes);
    const long = <T extends { readonly key: string }>(item: T): T => ({
      ...item,
      key: this.#prefix + item.key,
    });
    return this.#storage.transaction(comparisons.map(long), writes.map(long));
  }

  async *watch(
    prefix: string,
    fromRevision: number,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<Change> {
    for await (const change of this.#storage.watch(this.#prefix + prefix, fromRevision, options)) {
      yield { ...change, key: this.#short(change.key) };
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #short(key: string): string {
    return key.slice(this.#prefix.length);
  }
}
