import type { Clock } from "@rk8s/protocol";

/** Less than this is not worth asking for. */
const LEAST_MS = 20;

/** How long a caller waits for one operation, however often it is tried. */
export class Budget {
  readonly #clock: Clock;
  readonly #attemptMs: number;
  readonly #endMs: number;

  /** @param attemptMs for one request to one member. */
  constructor(clock: Clock, attemptMs: number, totalMs: number) {
    this.#clock = clock;
    this.#attemptMs = attemptMs;
    this.#endMs = clock.monotonicMs() + totalMs;
  }

  get isSpent(): boolean {
    return this.#leftMs < LEAST_MS;
  }

  /** For the next request. */
  get nextAttemptMs(): number {
    return Math.max(LEAST_MS, Math.floor(Math.min(this.#attemptMs, this.#leftMs)));
  }

  get #leftMs(): number {
    return this.#endMs - this.#clock.monotonicMs();
  }
}
