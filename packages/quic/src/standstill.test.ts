import { expect, test } from "vitest";
import { Standstill } from "./standstill.js";

test("a timer that fires in time is believed", () => {
  const standstill = new Standstill();
  expect(standstill.isHeldUp(1040, 1000)).toBe(false);
  expect(standstill.until).toBe(-Infinity);
});

test("after one that was held up there is half a second to listen, for all that fire meanwhile", () => {
  const standstill = new Standstill();
  expect(standstill.isHeldUp(4000, 1000)).toBe(true);
  expect(standstill.isHeldUp(4000, 3999)).toBe(true);
  expect(standstill.until).toBe(4500);
  expect(standstill.isHeldUp(4500, 4500)).toBe(false);
});

test("timers that are always late wait for a tenth of the time at most", () => {
  const standstill = new Standstill();
  let heldUp = 0;
  for (let nowMs = 0; nowMs < 60_000; nowMs += 10) {
    if (standstill.isHeldUp(nowMs, nowMs - 150)) heldUp += 10;
  }
  expect(heldUp).toBeLessThanOrEqual(6000);
  expect(heldUp).toBeGreaterThan(4000);
});
