/** Two starts are never closer together than this. */
const FLOOR_MS = 250;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
/** A worker that lived so long died of something new. */
const STABLE_MS = 10_000;

/** How a worker's life went. */
export interface WorkerLife {
  readonly livedMs: number;
  /** Whether the node was in service at any time of it. */
  readonly wasReady: boolean;
}

/**
 * How long to wait before a worker is started again: not at all after one that was in service, longer and longer (to
 * 30 s) while workers die before that. A floor between starts keeps any loop from spinning.
 */
export class RestartPace {
  #failures = 0;

  /** The pause after a worker's death, in milliseconds. */
  next({ livedMs, wasReady }: WorkerLife): number {
    if (wasReady || livedMs >= STABLE_MS) this.#failures = 0;
    else this.#failures++;
    const backoffMs =
      this.#failures < 2 ? 0 : Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (this.#failures - 2));
    return Math.max(backoffMs, FLOOR_MS - livedMs, 0);
  }
}
