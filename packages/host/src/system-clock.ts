import type { Clock, SleepOptions } from "@rk8s/protocol";

/** Node's longest timer; a longer one would fire at once. */
const MAX_TIMER_MS = 2_147_483_647;

/** The clocks and timers of this process. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(ms, options = {}) {
    const end = performance.now() + ms;
    for (let left = ms; left > 0; left = end - performance.now()) {
      await timer(Math.min(left, MAX_TIMER_MS), options);
    }
    options.signal?.throwIfAborted();
  },
};

/** Not of `node:timers/promises`: an aborted one makes an error with a stack, and most deadlines end by being aborted. */
function timer(ms: number, { signal, background = false }: SleepOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const abort = (): void => {
      clearTimeout(timeout);
      reject(signal?.reason as Error);
    };
    const timeout = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    if (background) timeout.unref();
    signal?.addEventListener("abort", abort, { once: true });
  });
}
