import { expect, test } from "vitest";
import { FakeClock } from "./fake-clock.js";

test("starts at now, cut to the second", () => {
  const before = Date.now();
  const now = new FakeClock().now();
  expect(now % 1000).toBe(0);
  expect(before - now).toBeLessThan(1000);
});

test("stands still until it is advanced, and then both clocks move", () => {
  const clock = new FakeClock({ now: 1000 });
  expect([clock.now(), clock.monotonicMs()]).toEqual([1000, 0]);
  clock.advance(250);
  expect([clock.now(), clock.monotonicMs()]).toEqual([1250, 250]);
});

test("a jump moves the wall clock alone and ends no sleep", async () => {
  const clock = new FakeClock({ now: 1000 });
  const sleep = clock.sleep(10);
  clock.jump(-500);
  clock.jump(60_000);
  expect([clock.now(), clock.monotonicMs(), clock.pendingSleeps]).toEqual([60_500, 0, 1]);
  clock.advance(10);
  await sleep;
});

test("ends the sleeps that are due, the earliest first and equal ones in order", async () => {
  const clock = new FakeClock();
  const order: string[] = [];
  const sleeps = [
    clock.sleep(30).then(() => order.push("30")),
    clock.sleep(10).then(() => order.push("10 a")),
    clock.sleep(10).then(() => order.push("10 b")),
    clock.sleep(31).then(() => order.push("31")),
  ];
  clock.advance(30);
  await Promise.all(sleeps.slice(0, 3));
  expect(order).toEqual(["10 a", "10 b", "30"]);
  expect(clock.pendingSleeps).toBe(1);
});

test("nextSleep waits for a sleep, and tells each one once", async () => {
  const clock = new FakeClock();
  const next = clock.nextSleep();
  const sleeps = [clock.sleep(5), clock.sleep(6)];
  expect(await next).toBe(5);
  expect(await clock.nextSleep()).toBe(6);
  clock.advance(6);
  await Promise.all(sleeps);
});

test("nextSleep does not tell sleeps that were aborted meanwhile", async () => {
  const clock = new FakeClock();
  const controller = new AbortController();
  const aborted = clock.sleep(5, { signal: controller.signal });
  const sleep = clock.sleep(6);
  const reason = new Error("stop");
  controller.abort(reason);
  await expect(aborted).rejects.toBe(reason);
  expect(await clock.nextSleep()).toBe(6);
  clock.advance(6);
  await sleep;
});

test("a sleep with an aborted signal rejects at once", async () => {
  const clock = new FakeClock();
  const reason = new Error("stop");
  await expect(clock.sleep(5, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  expect(clock.pendingSleeps).toBe(0);
});

test("time does not run backwards", () => {
  expect(() => new FakeClock().advance(-1)).toThrow(TypeError);
});
