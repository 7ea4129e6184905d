import { RksError } from "@rk8s/protocol";
import type { Clock, Logger } from "@rk8s/protocol";

import type { Expiring } from "./expiry-index.js";

/** A wall clock that was put forward is noticed after this long at the latest. */
const MAX_SLEEP_MS = 60_000;
/** So long after a failure everything that is due is tried again. */
const RETRY_MS = 5_000;
/** Things ended at once. */
const CONCURRENCY = 8;

export interface ExpirerPorts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Ends what is due, in the background, from the moment it is made until it is disposed. */
export class Expirer implements AsyncDisposable {
  readonly #kinds: readonly Expiring[];
  readonly #ports: ExpirerPorts;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  /** Ends the present sleep. */
  #waking = new AbortController();
  /** When the present sleep ends; what is due before it must end it. */
  #wakesAtMs = 0;

  /** The kinds are looked through in this order. */
  constructor(kinds: readonly Expiring[], ports: ExpirerPorts) {
    this.#kinds = kinds;
    this.#ports = ports;
    this.#running = this.#run();
  }

  /** Say that something is due at a time, milliseconds since the epoch. */
  notice(dueAtMs: number): void {
    if (dueAtMs < this.#wakesAtMs) this.#waking.abort();
  }

  /** Stop; what is being ended comes to its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#waking.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#ports;
    while (!this.#closing.signal.aborted) {
      // Before the look: what is noticed during it is looked for again.
      this.#waking = new AbortController();
      this.#wakesAtMs = Number.POSITIVE_INFINITY;
      const nextAtMs = await this.#expireDue().catch((reason: unknown) => {
        logger.warn("Looking for what has expired failed", { error: RksError.from(reason).message });
        return clock.now() + RETRY_MS;
      });
      if (this.#closing.signal.aborted) return;
      const sleepMs = Math.min(Math.max(nextAtMs - clock.now(), 0), MAX_SLEEP_MS);
      this.#wakesAtMs = clock.now() + sleepMs;
      await clock.sleep(sleepMs, { signal: this.#waking.signal }).catch(() => undefined);
    }
  }

  /** When to look again. */
  async #expireDue(): Promise<number> {
    let nextAtMs = Number.POSITIVE_INFINITY;
    for (const kind of this.#kinds) nextAtMs = Math.min(nextAtMs, await this.#expireKind(kind));
    return nextAtMs;
  }

  async #expireKind(kind: Expiring): Promise<number> {
    let failed = false;
    for (let after: string | undefined, page = await kind.due(after); ;) {
      const { due } = page;
      for (let start = 0; start < due.length; start += CONCURRENCY) {
        if (this.#closing.signal.aborted) return Number.POSITIVE_INFINITY;
        const results = await Promise.allSettled(
          due.slice(start, start + CONCURRENCY).map((item) => kind.expire(item)),
        );
        failed = this.#report(results) || failed;
      }
      after = page.after;
      if (after === undefined) {
        const next = page.nextAtMs ?? Number.POSITIVE_INFINITY;
        return failed ? Math.min(next, this.#ports.clock.now() + RETRY_MS) : next;
      }
      page = await kind.due(after);
    }
  }

  #report(results: readonly PromiseSettledResult<void>[]): boolean {
    let failed = false;
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      failed = true;
      const error = RksError.from(result.reason).message;
      if (!this.#closing.signal.aborted)
        this.#ports.logger.warn("Expired entry could not be removed", { error });
    }
    return failed;
  }
}
