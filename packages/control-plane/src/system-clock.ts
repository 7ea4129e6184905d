import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "@rk8s/protocol";

/** A longer timer would fire at once. */
const MAX_TIMER_MS = 2_147_483_647;

/** The wall clock and the timers of this process. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, options = {}) => {
    const { signal } = options;
    signal?.throwIfAborted();
    for (let left = ms; left > 0; left -= MAX_TIMER_MS) {
      try {
        await delay(Math.min(left, MAX_TIMER_MS), undefined, { signal });
      } catch (error) {
        // Node rejects with an AbortError of its own; the port promises the signal's reason.
        signal?.throwIfAborted();
        throw error;
      }
    }
  },
};
