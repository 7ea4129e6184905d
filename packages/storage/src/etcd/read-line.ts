import type { Budget } from "./budget.js";
import type { Members } from "./members.js";
import { type KeyValue, RANGE, type RangeAnswer, rangeRequest, TXN, TxnWriter } from "./messages.js";
import { leftWaiting } from "./left-waiting.js";
import { busy } from "../storage-errors.js";

/** Requests that are under way; further reads wait and go together. */
const MAX_UNDER_WAY = 2;
/** Keys in one request: with the largest values the answer still can be read. */
const MAX_TOGETHER = 16;
const MAX_WAITING = 8192;

interface Waiting {
  readonly key: Uint8Array;
  readonly budget: Budget;
  readonly resolve: (entry: KeyValue | undefined) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Reads single keys. A request costs the client many times what a key costs, so reads that come faster than they are
 * answered go together. Each still sees every write that was answered before it was asked for.
 */
export class ReadLine {
  readonly #members: Members;
  readonly #newBudget: () => Budget;
  readonly #waiting: Waiting[] = [];
  #underWay = 0;
  /** What the last request failed with; undefined when it was answered. */
  #failure: unknown;

  constructor(members: Members, newBudget: () => Budget) {
    this.#members = members;
    this.#newBudget = newBudget;
  }

  /**
   * The key as it is now.
   * @throws {RksError} BUSY when too many wait, and as `Members.repeatedly`.
   */
  get(key: Uint8Array): Promise<KeyValue | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length >= MAX_WAITING) throw busy("too many reads already wait for the store");
      this.#waiting.push({ key, budget: this.#newBudget(), resolve, reject });
      this.#send();
    });
  }

  #send(): void {
    while (this.#underWay < MAX_UNDER_WAY && this.#waiting.length > 0) {
      this.#underWay += 1;
      this.#read(this.#waiting.splice(0, MAX_TOGETHER))
        .finally(() => {
          this.#underWay -= 1;
          this.#send();
        })
        .catch(() => undefined);
    }
  }

  async #read(together: readonly Waiting[]): Promise<void> {
    const late = together.filter(({ budget }) => budget.isSpent);
    for (const { reject } of late) reject(leftWaiting("read", this.#failure));
    const batch = together.filter((waiting) => !late.includes(waiting));
    if (batch.length === 0) return;
    try {
      const answers = await this.#ask(batch);
      this.#failure = undefined;
      for (const [index, { resolve }] of batch.entries()) resolve(answers[index]?.entries[0]);
    } catch (reason) {
      this.#failure = reason;
      for (const { reject } of batch) reject(reason);
    }
  }

  async #ask(batch: readonly Waiting[]): Promise<readonly RangeAnswer[]> {
    const [first] = batch;
    if (first === undefined) return [];
    // The one that waits longest decides for how long the request is tried.
    const { key, budget } = first;
    if (batch.length === 1) {
      return [await this.#members.repeatedly(RANGE, rangeRequest({ key }).finish(), budget)];
    }
    const request = new TxnWriter();
    for (const waiting of batch) request.read(waiting.key);
    return (await this.#members.repeatedly(TXN, request.finish(), budget)).ranges;
  }
}
