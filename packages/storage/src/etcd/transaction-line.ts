import type { Attempts } from "./attempts.js";
import type { Budget } from "./budget.js";
import type { Members } from "./members.js";
import { TXN } from "./messages.js";
import { leftWaiting } from "./left-waiting.js";
import { busy } from "../storage-errors.js";
import type { TransactionResult } from "../storage.js";

/** Transactions that wait for their turn; more than this and a caller is told to come back. */
const MAX_WAITING = 8192;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

interface Waiting {
  readonly request: Buffer;
  readonly isWrite: boolean;
  readonly budget: Budget;
  readonly resolve: (result: TransactionResult) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Sends transactions one after the other, in the order of the calls. etcd does not keep the order of requests that are under
 * way together, and the barrier's counter stands on that order.
 */
export class TransactionLine {
  readonly #attempts: Attempts;
  readonly #members: Members;
  readonly #newBudget: () => Budget;
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #working: Promise<void> | undefined;
  /** What the last one failed with; undefined when it was done. */
  #failure: unknown;

  constructor(attempts: Attempts, members: Members, newBudget: () => Budget) {
    this.#attempts = attempts;
    this.#members = members;
    this.#newBudget = newBudget;
  }

  /**
   * Do a transaction when its turn comes.
   * @param request comparisons and writes as `TxnWriter` encoded them.
   * @param isWrite false when there are no writes.
   * @throws {RksError} BUSY when too many wait, and as `Attempts.apply`.
   */
  add(request: Buffer, isWrite: boolean): Promise<TransactionResult> {
    return new Promise((resolve, reject) => {
      if (
        this.#waiting.length >= MAX_WAITING ||
        this.#waitingBytes + request.byteLength > MAX_WAITING_BYTES
      ) {
        throw busy("too many transactions already wait for the store");
      }
      this.#waiting.push({ request, isWrite, budget: this.#newBudget(), resolve, reject });
      this.#waitingBytes += request.byteLength;
      this.#working ??= this.#work();
    });
  }

  /** Resolves when nothing waits and nothing is under way. */
  async idle(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#waitingBytes -= next.request.byteLength;
      await this.#do(next).then(next.resolve, next.reject);
    }
    this.#working = undefined;
  }

  async #do({ request, isWrite, budget }: Waiting): Promise<TransactionResult> {
    if (budget.isSpent) throw leftWaiting("transaction", this.#failure);
    try {
      const { succeeded, revision } = isWrite
        ? await this.#attempts.apply(request, budget)
        : await this.#members.repeatedly(TXN, request, budget);
      this.#failure = undefined;
      return { succeeded, revision };
    } catch (reason) {
      this.#failure = reason;
      throw reason;
    }
  }
}
