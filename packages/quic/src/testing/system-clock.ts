import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "@rk8s/protocol";

/** The real clock, for tests of what runs in real time anyway. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, options) => {
    await sleep(ms, undefined, { signal: options?.signal });
  },
};
