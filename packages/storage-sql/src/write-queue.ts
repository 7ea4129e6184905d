import { randomBytes } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Clock, Logger } from "@rk8s/protocol";
import { assertTransaction, busy, copyWrite, sizeOfWrite } from "@rk8s/storage";
import type { Comparison, TransactionResult, Write } from "@rk8s/storage";

import { ATTEMPT_BYTES, commitBatch, DoubtfulCommit, verdictOn } from "./commit-batch.js";
import { isPassing } from "./sql-error.js";
import { serverName } from "./sql-target.js";
import { untilAnswered } from "./until-answered.js";
import type { Outcome, Request } from "./batch.js";
import type { Database } from "./connection/database.js";
import type { SqlTarget } from "./sql-target.js";

export interface WriteQueuePorts {
  /** With one session: what is queued here goes to the server one batch after the other. */
  readonly db: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called with the store's revision after each commit that changed it. */
  onCommitted(revision: number): void;
}

/** Transactions that wait; more than this and a caller is told to come back. */
const MAX_PENDING = 8192;
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
/** Transactions that share one commit: enough to hide its cost, few enough that other writers get their turn soon. */
const MAX_BATCH = 128;
const MAX_BATCH_KEYS = 1000;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
/** How long one batch is tried while the server is away: longer than a restart takes. */
const WRITE_MS = 10_000;

interface Pending extends Request {
  readonly keys: number;
  readonly bytes: number;
  resolve(result: TransactionResult): void;
  reject(error: RksError): void;
}

/**
 * The transactions of this process, in the order of the calls. Those that wait while one is on its way share the next
 * commit. When the server stays away, everything that waits fails at once: nothing waits longer than the first in line.
 */
export class WriteQueue {
  readonly #target: SqlTarget;
  readonly #ports: WriteQueuePorts;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #running: Promise<void> | undefined;

  constructor(target: SqlTarget, ports: WriteQueuePorts) {
    this.#target = target;
    this.#ports = ports;
  }

  /**
   * As `Storage.transaction`.
   * @throws {RksError} BUSY when too many wait; CONNECTION_LOST when it cannot be told whether it was applied; any other code
   * means that it was not.
   */
  submit(comparisons: readonly Comparison[], writes: readonly Write[]): Promise<TransactionResult> {
    return new Promise((resolve, reject) => {
      assertTransaction(comparisons, writes);
      const bytes = writes.reduce((sum, write) => sum + sizeOfWrite(write), 0);
      if (this.#pending.length >= MAX_PENDING || this.#pendingBytes + bytes > MAX_PENDING_BYTES) {
        throw busy("too many transactions already wait for the database");
      }
      this.#pendingBytes += bytes;
      const keys = comparisons.length + writes.length;
      this.#pending.push({ comparisons, writes: writes.map(copyWrite), keys, bytes, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing waits any more. */
  async drained(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    // What is asked for in the same turn of the event loop comes along.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    while (this.#pending.length > 0) await this.#next();
    this.#running = undefined;
  }

  async #next(): Promise<void> {
    const batch = this.#takeBatch();
    try {
      const { results, revision, changes } = await this.#commit(batch);
      for (const [index, result] of results.entries()) batch[index]?.resolve(result);
      if (changes.length > 0) this.#ports.onCommitted(revision);
    } catch (reason) {
      const error = RksError.from(reason);
      for (const pending of batch) pending.reject(error);
      if (isPassing(error)) this.#refuseAll(error);
    }
  }

  #takeBatch(): readonly Pending[] {
    let count = 0;
    let bytes = 0;
    let keys = 0;
    for (const pending of this.#pending.slice(0, MAX_BATCH)) {
      const isFull = bytes + pending.bytes > MAX_BATCH_BYTES || keys + pending.keys > MAX_BATCH_KEYS;
      if (count > 0 && isFull) break;
      count += 1;
      bytes += pending.bytes;
      keys += pending.keys;
    }
    this.#pendingBytes -= bytes;
    return this.#pending.splice(0, count);
  }

  /** Until it is applied, or certain that it is not. */
  async #commit(batch: readonly Request[]): Promise<Outcome> {
    const { db, clock } = this.#ports;
    let doubt: DoubtfulCommit | undefined;
    const attempt = async (): Promise<Outcome> => {
      if (doubt !== undefined) {
        const verdict = await verdictOn(db, doubt);
        this.#ports.logger.warn("An SQL commit got no answer", { verdict, reason: doubt.message });
        if (verdict === "applied") return doubt.outcome;
        if (verdict === "forgotten") throw this.#unknown(doubt);
        doubt = undefined;
      }
      try {
        return await commitBatch(db, this.#target.engine, batch, randomBytes(ATTEMPT_BYTES));
      } catch (reason) {
        if (reason instanceof DoubtfulCommit) doubt = reason;
        throw reason;
      }
    };
    try {
      return await untilAnswered(attempt, { clock, timeoutMs: WRITE_MS });
    } catch (reason) {
      throw doubt === undefined ? reason : this.#unknown(reason);
    }
  }

  /** What waits behind a batch that could not be sent has waited as long, and would wait as long again. */
  #refuseAll(cause: RksError): void {
    const refused = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    const error = new RksError("UNAVAILABLE", `${serverName(this.#target)} takes no writes right now`, {
      suggestion: cause.suggestion,
      cause,
    });
    for (const pending of refused) pending.reject(error);
  }

  #unknown(cause: unknown): RksError {
    return new RksError(
      "CONNECTION_LOST",
      `${serverName(this.#target)} did not say whether it stored a change`,
      { suggestion: "Look whether the change is there before it is made again.", cause },
    );
  }
}
