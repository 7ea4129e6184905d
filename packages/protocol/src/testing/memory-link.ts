import type { Clock } from "../clock.js";

/** How long things take between the two ends of a memory connection. */
export interface MemoryLinkOptions {
  /** One way; more than 0 needs a clock. */
  readonly latencyMs: number;
  readonly clock: Clock | undefined;
  /** Share of deliveries that are lost once and come again after three more latencies, 0 to 1. */
  readonly lossRate: number;
  /** 0 ≤ x < 1; decides what is lost. */
  readonly random: () => number;
}

/** One direction of a connection: delivers in order, never at once, later when there is latency or loss. */
export class MemoryLink {
  readonly #options: MemoryLinkOptions;
  readonly #cut = new AbortController();
  #tail: Promise<void> = Promise.resolve();

  constructor(options: MemoryLinkOptions) {
    this.#options = options;
  }

  /** Call `deliver` at the other end, after everything that was sent before. */
  send(deliver: () => void): void {
    if (this.#cut.signal.aborted) return;
    const arrival = this.#travel();
    this.#tail = this.#deliver(this.#tail, arrival, deliver);
  }

  /** Drop what is under way and whatever is sent from now on. */
  cut(): void {
    this.#cut.abort();
  }

  async #deliver(before: Promise<void>, arrival: Promise<void>, deliver: () => void): Promise<void> {
    await before;
    await arrival;
    if (!this.#cut.signal.aborted) deliver();
  }

  async #travel(): Promise<void> {
    const { latencyMs, lossRate, clock, random } = this.#options;
    if (clock === undefined || latencyMs === 0) return;
    const lost = lossRate > 0 && random() < lossRate;
    // A cut link wakes the sleep; the delivery then finds the link cut.
    await clock.sleep(lost ? 4 * latencyMs : latencyMs, { signal: this.#cut.signal }).catch(() => undefined);
  }
}
