import { type Clock, LIMITS, RksError } from "@rk8s/protocol";

/** Ends the sleep of a deadline that is not needed any more. Nobody gets to see it. */
const SETTLED = new RksError("INTERNAL", "the stream has been served");

export interface StreamDeadlineInit {
  readonly clock: Clock;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/**
 * The deadlines of one stream's waits, one after another, at the price of one: a stream is served a thousand times a
 * second, mostly without any wait. The work must heed the signal that it is given.
 */
export class StreamDeadline implements Disposable {
  readonly #clock: Clock;
  readonly #outer: AbortSignal;
  #inner = new AbortController();
  #attempt = "";
  #endsAtMs = Infinity;

  constructor(init: StreamDeadlineInit) {
    this.#clock = init.clock;
    this.#outer = init.signal;
    this.#outer.addEventListener("abort", this.#forward, { once: true });
    this.#watch(this.#inner).catch(() => undefined);
  }

  /**
   * Do work that waits for the peer. One at a time.
   * @throws {RksError} TIMED_OUT when it takes longer than a request may; the signal's reason when that is aborted.
   */
  async limit<T>(attempt: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#outer.throwIfAborted();
    if (this.#inner.signal.aborted) {
      this.#inner = new AbortController();
      this.#watch(this.#inner).catch(() => undefined);
    }
    this.#attempt = attempt;
    this.#endsAtMs = this.#clock.monotonicMs() + LIMITS.requestTimeoutMs;
    try {
      return await work(this.#inner.signal);
    } finally {
      this.#endsAtMs = Infinity;
    }
  }

  [Symbol.dispose](): void {
    this.#outer.removeEventListener("abort", this.#forward);
    this.#inner.abort(SETTLED);
  }

  readonly #forward = (): void => this.#inner.abort(this.#outer.reason);

  async #watch(inner: AbortController): Promise<void> {
    for (let pauseMs: number = LIMITS.requestTimeoutMs; pauseMs > 0;) {
      await this.#clock.sleep(pauseMs, { signal: inner.signal });
      pauseMs = Math.min(this.#endsAtMs - this.#clock.monotonicMs(), LIMITS.requestTimeoutMs);
    }
    const seconds = LIMITS.requestTimeoutMs / 1000;
    inner.abort(new RksError("TIMED_OUT", `${this.#attempt} within ${seconds} s`));
  }
}
