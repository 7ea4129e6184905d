import type { RksError } from "@rk8s/protocol";
import { type Comparison, type ListRange, memoryStorage, type Storage, type Write } from "@rk8s/storage";

/** A store in memory whose transactions can be made to fail, and that counts them. */
export class FaultyStorage implements Storage {
  /** Thrown by every transaction while it is set. */
  fault: RksError | undefined;
  /** How many transactions wrote something. */
  transactions = 0;
  readonly #storage = memoryStorage();

  get(key: string): ReturnType<Storage["get"]> {
    return this.#storage.get(key);
  }

  list(prefix: string, options?: ListRange): ReturnType<Storage["list"]> {
    return this.#storage.list(prefix, options);
  }

  async transaction(
    comparisons: readonly Comparison[],
    writes: readonly Write[],
  ): ReturnType<Storage["transaction"]> {
    await Promise.resolve();
    if (this.fault !== undefined) throw this.fault;
    this.transactions += 1;
    return this.#storage.transaction(comparisons, writes);
  }

  watch(...parameters: Parameters<Storage["watch"]>): ReturnType<Storage["watch"]> {
    return this.#storage.watch(...parameters);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#storage[Symbol.asyncDispose]();
  }

  /** Everything in it as text, for looking for what must not be there. */
  async dump(): Promise<string> {
    const { entries } = await this.#storage.list("");
    return entries.map(({ key, value }) => `${key} ${Buffer.from(value).toString("latin1")}`).join("\n");
  }
}
