import { expect, test } from "vitest";
import { systemClock } from "./system-clock.js";

test("a sleep of nothing ends, a negative one too", async () => {
  await systemClock.sleep(0);
  await systemClock.sleep(-5);
  expect(systemClock.monotonicMs()).toBeGreaterThan(0);
});

test.each([
  { background: false, kept: 1 },
  { background: true, kept: 0 },
])("whether a sleep keeps the process: background $background", async ({ background, kept }) => {
  const timers = (): number =>
    process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
  const before = timers();
  const controller = new AbortController();
  const sleeping = systemClock.sleep(3_000_000, { signal: controller.signal, background });
  expect(timers() - before).toBe(kept);
  controller.abort(new Error("enough"));
  await expect(sleeping).rejects.toThrow("enough");
});

test("a sleep ends with the signal's own reason", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const sleeping = systemClock.sleep(3_000_000_000, { signal: controller.signal });
  controller.abort(reason);
  await expect(sleeping).rejects.toBe(reason);
  await expect(systemClock.sleep(1, { signal: controller.signal })).rejects.toBe(reason);
});
