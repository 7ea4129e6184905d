import type { Clock, SleepOptions } from "../clock.js";

interface Sleeper {
  readonly ms: number;
  readonly dueMs: number;
  reported: boolean;
  wake(): void;
}

/**
 * A clock that stands still until a test moves it. The wall clock starts at now cut to the second, because
 * certificates are also judged by TLS stacks whose clock nobody can inject.
 */
export class FakeClock implements Clock {
  #now: number;
  #monotonicMs = 0;
  /** In the order in which the sleeps began. */
  readonly #sleepers = new Set<Sleeper>();
  readonly #listeners: ((ms: number) => void)[] = [];

  constructor(init: { readonly now?: number } = {}) {
    this.#now = init.now ?? Math.floor(Date.now() / 1000) * 1000;
  }

  now(): number {
    return this.#now;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  /** Sleeps that are neither over nor aborted; 0 proves that nothing was left behind. */
  get pendingSleeps(): number {
    return this.#sleepers.size;
  }

  async sleep(ms: number, options: SleepOptions = {}): Promise<void> {
    const { signal } = options;
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const finish = (settle: () => void): void => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener("abort", abort);
        settle();
      };
      const abort = (): void => finish(() => reject(signal?.reason));
      const sleeper: Sleeper = {
        ms,
        dueMs: this.#monotonicMs + ms,
        reported: false,
        wake: () => finish(resolve),
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", abort, { once: true });
      this.#report(sleeper);
    });
  }

  /**
   * Move both clocks and end the sleeps that are due, the earliest first. Code that goes to sleep again after being
   * woken needs another `advance`.
   */
  advance(ms: number): void {
    if (!(ms >= 0)) throw new TypeError(`cannot advance by ${ms} ms`);
    this.#now += ms;
    this.#monotonicMs += ms;
    const due = [...this.#sleepers].filter((sleeper) => sleeper.dueMs <= this.#monotonicMs);
    for (const sleeper of due.toSorted((a, b) => a.dueMs - b.dueMs)) sleeper.wake();
  }

  /** Move the wall clock alone, either way, as an administrator or NTP does. Ends no sleep. */
  jump(ms: number): void {
    this.#now += ms;
  }

  /** Resolves with the length of the next sleep that was not reported yet, once there is one. */
  nextSleep(): Promise<number> {
    for (const sleeper of this.#sleepers) {
      if (sleeper.reported) continue;
      sleeper.reported = true;
      return Promise.resolve(sleeper.ms);
    }
    return new Promise<number>((resolve) => {
      this.#listeners.push(resolve);
    });
  }

  #report(sleeper: Sleeper): void {
    const listener = this.#listeners.shift();
    if (listener === undefined) return;
    sleeper.reported = true;
    listener(sleeper.ms);
  }
}
