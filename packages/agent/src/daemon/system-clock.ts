import { setTimeout as wait } from "node:timers/promises";
import type { Clock } from "@rk8s/protocol";

/** Longest wait that a timer of Node takes; longer ones are waited in pieces. */
const MAX_TIMER_MS = 2_147_483_647;

/** The host's own clocks. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(ms, options = {}) {
    const { signal } = options;
    for (let left = ms; ; left -= MAX_TIMER_MS) {
      signal?.throwIfAborted();
      try {
        await wait(Math.min(left, MAX_TIMER_MS), undefined, signal === undefined ? {} : { signal });
      } catch (reason) {
        signal?.throwIfAborted();
        throw reason;
      }
      if (left <= MAX_TIMER_MS) return;
    }
  },
};
