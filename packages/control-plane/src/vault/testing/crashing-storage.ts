import { RksError } from "@rk8s/protocol";
import { type Comparison, type ListRange, memoryStorage, type Storage, type Write } from "@rk8s/storage";

/** Where a process dies: before its n-th writing transaction is done, or after it is and before anybody hears of it. */
export interface Crash {
  readonly at: number;
  readonly written: boolean;
}

/** A store that survives the process using it: after the crash that was planned nothing can be written any more. */
export class CrashingStorage implements Storage {
  /** What a process that starts afterwards finds. */
  readonly disk: Storage = memoryStorage();
  /** Transactions that were asked for since the last plan. */
  transactions = 0;
  #crash: Crash | undefined;

  /** Plan the crash, counting from now. */
  plan(crash: Crash | undefined): void {
    this.#crash = crash;
    this.transactions = 0;
  }

  get(key: string): ReturnType<Storage["get"]> {
    return this.disk.get(key);
  }

  list(prefix: string, options?: ListRange): ReturnType<Storage["list"]> {
    return this.disk.list(prefix, options);
  }

  async transaction(
    comparisons: readonly Comparison[],
    writes: readonly Write[],
  ): ReturnType<Storage["transaction"]> {
    this.transactions += 1;
    const crash = this.#crash;
    if (crash === undefined || this.transactions < crash.at)
      return this.disk.transaction(comparisons, writes);
    if (this.transactions === crash.at && crash.written) await this.disk.transaction(comparisons, writes);
    throw new RksError("STORAGE_UNWRITABLE", "the process was killed");
  }

  watch(...parameters: Parameters<Storage["watch"]>): ReturnType<Storage["watch"]> {
    return this.disk.watch(...parameters);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** Every place where a process that does `transactions` of them can die. */
export function everyCrash(transactions: number): readonly Crash[] {
  return Array.from({ length: transactions }, (_, index) => [
    { at: index + 1, written: false },
    { at: index + 1, written: true },
  ]).flat();
}
