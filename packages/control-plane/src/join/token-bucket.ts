import type { Clock } from "@rk8s/protocol";

/** A budget that fills up again with time. */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #perSecond: number;
  #level: number;
  #filledAtMs: number;

  constructor(
    init: { readonly capacity: number; readonly perSecond: number },
    ports: { readonly clock: Clock },
  ) {
    this.#clock = ports.clock;
    this.#capacity = init.capacity;
    this.#perSecond = init.perSecond;
    this.#level = init.capacity;
    this.#filledAtMs = ports.clock.monotonicMs();
  }

  /** Take one; false when the budget is spent. */
  take(): boolean {
    const now = this.#clock.monotonicMs();
    const gained = ((now - this.#filledAtMs) / 1000) * this.#perSecond;
    this.#level = Math.min(this.#capacity, this.#level + gained);
    this.#filledAtMs = now;
    if (this.#level < 1) return false;
    this.#level -= 1;
    return true;
  }

  /** Put one back that turned out not to be owed. */
  giveBack(): void {
    this.#level = Math.min(this.#capacity, this.#level + 1);
  }
}
