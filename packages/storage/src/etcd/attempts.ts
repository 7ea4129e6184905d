import { randomBytes } from "node:crypto";

import { type Clock, RksError } from "@rk8s/protocol";

import type { Budget } from "./budget.js";
import { EtcdFailure } from "./etcd-failure.js";
import type { Members } from "./members.js";
import { TXN, TxnWriter } from "./messages.js";
import type { TransactionResult } from "../storage.js";

/**
 * Makes transactions safe to repeat. Each one also writes the client's attempt record, and only when the record still is
 * what it was when the attempt began. So no attempt is applied after the record was written by somebody else, and
 * after a lost answer one more write to the record settles the matter: it comes in time, then the attempt never will;
 * or it finds the attempt's own id in the record, then the attempt was applied. Only after that the transaction is sent again.
 *
 * One transaction at a time, and nobody else may write the record. That somebody deletes it does no harm.
 */
export class Attempts {
  readonly #members: Members;
  readonly #clock: Clock;
  readonly #key: Uint8Array;
  /** Revision of the record, as far as it is known; 0: there is none. */
  #revision = 0;
  /** The record of an attempt of which it is not known whether it was applied. */
  #open: Buffer | undefined;

  constructor(key: Uint8Array, members: Members, clock: Clock) {
    this.#key = key;
    this.#members = members;
    this.#clock = clock;
  }

  /**
   * Apply a transaction once, however often it must be sent.
   * @param transaction comparisons and writes as `TxnWriter` encoded them.
   * @throws {EtcdFailure} that is final; then nothing was written.
   * @throws {RksError} from the members. Nothing was written, unless the error says that this is not known.
   */
  async apply(transaction: Buffer, budget: Budget): Promise<TransactionResult> {
    for (;;) {
      await this.#settle(budget);
      const result = await this.#attempt(transaction, budget);
      if (result !== undefined) return result;
    }
  }

  /** Delete the record, if that works at once. */
  async end(budget: Budget): Promise<void> {
    if (this.#revision === 0 || this.#open !== undefined) return;
    await this.#members.once(TXN, new TxnWriter().delete(this.#key).finish(), budget);
  }

  /** Undefined when the attempt is known not to have been applied, for a reason that lies not in the transaction. */
  async #attempt(transaction: Buffer, budget: Budget): Promise<TransactionResult | undefined> {
    const record = this.#newRecord();
    const request = Buffer.concat([transaction, this.#write(record)]);
    this.#open = record;
    try {
      const answer = await this.#members.once(TXN, request, budget);
      this.#open = undefined;
      if (answer.succeeded) {
        this.#revision = answer.revision;
        return { succeeded: true, revision: answer.revision };
      }
      const found = answer.ranges[0]?.entries[0]?.modRevision ?? 0;
      if (found === this.#revision) return { succeeded: false, revision: answer.revision };
      this.#revision = found;
      return undefined;
    } catch (reason) {
      if (!(reason instanceof EtcdFailure)) throw reason;
      if (reason.isFinal) {
        this.#open = undefined;
        throw reason;
      }
      const revision = await this.#settle(budget).catch((why: unknown) => {
        throw unknownOutcome(why);
      });
      return revision === undefined ? undefined : { succeeded: true, revision };
    }
  }

  /** Make sure that the open attempt is over. Gives the revision at which it was applied; undefined when it was not. */
  async #settle(budget: Budget): Promise<number | undefined> {
    if (this.#open === undefined) return undefined;
    const answer = await this.#members.repeatedly(TXN, this.#write(this.#newRecord()), budget);
    let applied: number | undefined;
    if (answer.succeeded) {
      this.#revision = answer.revision;
    } else {
      // What is found otherwise is this very write, whose answer was lost.
      const found = answer.ranges[0]?.entries[0];
      this.#revision = found?.modRevision ?? 0;
      if (found !== undefined && this.#open.equals(found.value)) applied = found.modRevision;
    }
    this.#open = undefined;
    return applied;
  }

  #write(record: Buffer): Buffer {
    return new TxnWriter()
      .compare(this.#key, this.#revision)
      .put(this.#key, record)
      .otherwiseRead(this.#key)
      .finish();
  }

  /** The time tells others when nobody needs the record any more. */
  #newRecord(): Buffer {
    return Buffer.from(`${new Date(this.#clock.now()).toISOString()} ${randomBytes(16).toString("hex")}`);
  }
}

function unknownOutcome(reason: unknown): RksError {
  const { message, suggestion } = reason instanceof EtcdFailure ? reason.error : RksError.from(reason);
  return new RksError("UNAVAILABLE", `${message}; whether the transaction was done is not known`, {
    suggestion,
    cause: reason,
  });
}
