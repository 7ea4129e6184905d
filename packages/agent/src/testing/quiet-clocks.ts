import type { ClockWatch } from "../clock-watch/clock-watch.js";

/** Tells nothing: for tests that let a fake clock's time pass in strides that would look like a stopped process. */
export const quietClocks: ClockWatch = async (_onBreak, { signal }) =>
  new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
