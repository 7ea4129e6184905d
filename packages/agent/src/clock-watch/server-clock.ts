import type { Clock } from "@rk8s/protocol";

/**
 * The control plane's clock as far as it was heard, counted on by this host's monotonic clock. It never runs ahead of
 * the real one by more than the way of an answer, whatever is done to this host's wall clock; after a suspension of the
 * host it is late. So: what has expired by this clock has expired.
 */
export class ServerClock {
  readonly #clock: Clock;
  #heard: { readonly serverMs: number; readonly monotonicMs: number };

  /** @param serverMs a time that the control plane's clock has passed, such as the issue of a certificate. */
  constructor(serverMs: number, ports: { readonly clock: Clock }) {
    this.#clock = ports.clock;
    this.#heard = { serverMs, monotonicMs: ports.clock.monotonicMs() };
  }

  /** The control plane has said what time it is. */
  heard(serverMs: number): void {
    this.#heard = { serverMs, monotonicMs: this.#clock.monotonicMs() };
  }

  /** What it says now, at least; milliseconds. */
  get nowMs(): number {
    return this.#heard.serverMs + (this.#clock.monotonicMs() - this.#heard.monotonicMs);
  }
}
