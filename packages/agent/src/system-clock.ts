import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "@rk8s/protocol";

/** Node's longest timer; a longer one would fire at once. */
const MAX_TIMER_MS = 2_147_483_647;

/** The clocks and timers of this process. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(ms, options = {}) {
    const { signal } = options;
    signal?.throwIfAborted();
    const end = performance.now() + ms;
    for (let left = ms; left > 0; left = end - performance.now()) {
      try {
        await delay(Math.min(left, MAX_TIMER_MS), undefined, { signal });
      } catch (error) {
        signal?.throwIfAborted();
        throw error;
      }
    }
  },
};
