import { RksError } from "@rk8s/protocol";
import type { Clock, Logger } from "@rk8s/protocol";

import { ALONE, type Stewardship } from "../members/stewardship.js";
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
  /** Default: this process has the store for itself. */
  readonly stewardship?: Stewardship | undefined;
}

/** Ends what is due, in the background, from the moment it is made until it is disposed. It keeps no process alive. */
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
    const { stewardship = ALONE } = this.#ports;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      if (!stewardship.isHeld) await stewardship.whenHeld(signal);
      // Before the look: what is noticed during it is looked for again.
      this.#waking = new AbortController();
      this.#wakesAtMs = Number.POSITIVE_INFINITY;
      if (signal.aborted) return;
      await this.#sleep(await this.#expireDue());
    }
  }

  /** When to look again; undefined when something went wrong. */
  async #expireDue(): Promise<number | undefined> {
    try {
      const next: (number | undefined)[] = [];
      for (const kind of this.#kinds) next.push(await this.#expireKind(kind));
      return next.includes(undefined) ? undefined : Math.min(...next.map((atMs) => atMs ?? 0));
    } catch (reason) {
      const error = RksError.from(reason).message;
      this.#ports.logger.warn("Looking for what has expired failed", { error });
      return undefined;
    }
  }

  async #sleep(nextAtMs: number | undefined): Promise<void> {
    const { clock } = this.#ports;
    if (nextAtMs === undefined) {
      // Nothing that is noticed makes it try a failing store again at once.
      const { signal } = this.#closing;
      await clock.sleep(RETRY_MS, { signal, background: true }).catch(() => undefined);
      return;
    }
    const sleepMs = Math.min(Math.max(nextAtMs - clock.now(), 0), MAX_SLEEP_MS);
    this.#wakesAtMs = clock.now() + sleepMs;
    const { signal } = this.#waking;
    await clock.sleep(sleepMs, { signal, background: true }).catch(() => undefined);
  }

  /** When the next one is due; undefined when one could not be ended. */
  async #expireKind(kind: Expiring): Promise<number | undefined> {
    let failed = false;
    for (let after: string | undefined; ;) {
      const page = await kind.due(after);
      for (let start = 0; start < page.due.length; start += CONCURRENCY) {
        if (this.#closing.signal.aborted) return undefined;
        const some = page.due.slice(start, start + CONCURRENCY);
        const results = await Promise.allSettled(some.map((item) => kind.expire(item)));
        failed = this.#report(results) || failed;
      }
      after = page.after;
      if (after === undefined) return failed ? undefined : (page.nextAtMs ?? Number.POSITIVE_INFINITY);
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
