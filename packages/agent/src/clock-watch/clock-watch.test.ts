import { FakeClock } from "@rk8s/protocol/testing";
import { expect, onTestFinished, test } from "vitest";
import { watchClocks, type ClockBreak } from "./clock-watch.js";

const LOOK_MS = 2000;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** A watch at its first look, what it told, and a way to let time pass up to its next look. */
async function watch() {
  const clock = new FakeClock();
  const end = new AbortController();
  const told: ClockBreak[] = [];
  const over = watchClocks((clockBreak) => void told.push(clockBreak), { clock, signal: end.signal });
  over.catch(() => undefined);
  onTestFinished(() => end.abort());
  expect(await clock.nextSleep()).toBe(LOOK_MS);
  const look = async (ms = LOOK_MS): Promise<void> => {
    clock.advance(ms);
    expect(await clock.nextSleep()).toBe(LOOK_MS);
  };
  return { clock, told, look, end, over };
}

test("nothing is told while time passes as it should", async () => {
  const { told, look, clock } = await watch();
  for (let i = 0; i < 100; i++) {
    // What NTP slews, and what an event loop that is at work adds.
    clock.jump(1);
    await look(LOOK_MS + 300);
  }
  expect(told).toEqual([]);
});

test.each([
  { name: "half a minute on", shiftedMs: 30 * SECOND },
  { name: "half a minute back", shiftedMs: -30 * SECOND },
  { name: "ten minutes on", shiftedMs: 10 * MINUTE },
  { name: "ten minutes back", shiftedMs: -10 * MINUTE },
  { name: "a suspension of eight hours, in which the monotonic clock stood still", shiftedMs: 8 * HOUR },
])("a jump of the wall clock is told: $name", async ({ shiftedMs }) => {
  const { told, look, clock } = await watch();
  await look();
  clock.jump(shiftedMs);
  await look();
  expect(told).toEqual([{ pausedMs: 0, shiftedMs }]);
  await look();
  expect(told).toHaveLength(1);
});

test("a clock that goes back to 1970, and what it is set right by, are told", async () => {
  const { told, look, clock } = await watch();
  const now = clock.now();
  clock.jump(-now);
  await look();
  expect(told).toEqual([{ pausedMs: 0, shiftedMs: -now }]);
  for (let i = 0; i < 20; i++) await look();
  clock.jump(now);
  await look();
  expect(told.slice(1)).toEqual([{ pausedMs: 0, shiftedMs: now }]);
});

test("a stop of the process, in which both clocks ran on, is told", async () => {
  const { told, look } = await watch();
  await look(LOOK_MS + 10 * MINUTE);
  expect(told).toEqual([{ pausedMs: 10 * MINUTE, shiftedMs: 0 }]);
});

test("a stop longer than any timer of Node's, and a suspension of months, are told", async () => {
  const { told, look, clock } = await watch();
  await look(LOOK_MS + 60 * 24 * HOUR);
  clock.jump(90 * 24 * HOUR);
  for (let i = 0; i < 16; i++) await look();
  expect(told).toEqual([
    { pausedMs: 60 * 24 * HOUR, shiftedMs: 0 },
    { pausedMs: 0, shiftedMs: 90 * 24 * HOUR },
  ]);
});

test("a clock that is set again and again is told about every half minute, with the sum", async () => {
  const { told, look, clock } = await watch();
  for (let i = 0; i < 31; i++) {
    clock.jump(20 * SECOND);
    await look();
  }
  expect(told).toEqual([
    { pausedMs: 0, shiftedMs: 20_000 },
    { pausedMs: 0, shiftedMs: 300_000 },
    { pausedMs: 0, shiftedMs: 300_000 },
  ]);
});

test("a clock that is set right again before it was told about is not told about", async () => {
  const { told, look, clock } = await watch();
  for (const ms of [20 * SECOND, 600 * SECOND, -600 * SECOND]) {
    clock.jump(ms);
    await look();
  }
  for (let i = 0; i < 20; i++) await look();
  expect(told).toEqual([{ pausedMs: 0, shiftedMs: 20_000 }]);
});

test("it ends with its signal and leaves no timer", async () => {
  const { clock, end, over } = await watch();
  end.abort(new Error("enough"));
  await expect(over).rejects.toThrow("enough");
  expect(clock.pendingSleeps).toBe(0);
});
