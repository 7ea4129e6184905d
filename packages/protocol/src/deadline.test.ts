import { expect, test } from "vitest";
import { settledWithin, withDeadline } from "./deadline.js";
import { rejection } from "./testing/assert.js";
import { FakeClock } from "./testing/fake-clock.js";

/** Work that waits for its signal and then fails with the reason, as everything behind a port does. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}

const options = (clock: FakeClock) => ({ clock, timeoutMs: 5000, attempt: "rks did not answer" });

test("gives the work's result and leaves no sleep behind", async () => {
  const clock = new FakeClock();
  expect(await withDeadline(() => Promise.resolve(7), options(clock))).toBe(7);
  expect(clock.pendingSleeps).toBe(0);
});

test("gives the work's error and leaves no sleep behind", async () => {
  const clock = new FakeClock();
  const broken = new Error("broken");
  await expect(withDeadline(() => Promise.reject(broken), options(clock))).rejects.toBe(broken);
  expect(clock.pendingSleeps).toBe(0);
});

test("work that throws at once leaves nothing behind either", async () => {
  const clock = new FakeClock();
  const broken = new Error("broken");
  const thrower = (): Promise<never> => {
    throw broken;
  };
  await expect(withDeadline(thrower, options(clock))).rejects.toBe(broken);
  expect(clock.pendingSleeps).toBe(0);
});

test("fails with TIMED_OUT, not before, and aborts the work", async () => {
  const clock = new FakeClock();
  let seen: AbortSignal | undefined;
  const result = withDeadline((signal) => {
    seen = signal;
    return untilAborted(signal);
  }, options(clock));
  const failure = rejection(result);
  expect(await clock.nextSleep()).toBe(5000);
  clock.advance(4999);
  expect(seen?.aborted).toBe(false);
  clock.advance(1);
  expect(await failure).toMatchObject({
    code: "TIMED_OUT",
    message: "rks did not answer within 5 s",
  });
  expect(seen?.aborted).toBe(true);
});

test("fails with TIMED_OUT although the work does not heed the signal, and its late failure is nobody's", async () => {
  const clock = new FakeClock();
  let fail: (error: Error) => void = () => undefined;
  const stubborn = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const result = withDeadline(() => stubborn, options(clock));
  const failure = rejection(result);
  clock.advance(await clock.nextSleep());
  expect(await failure).toMatchObject({ code: "TIMED_OUT" });
  fail(new Error("too late"));
});

test("fails with the outer signal's reason and leaves no sleep behind", async () => {
  const clock = new FakeClock();
  const controller = new AbortController();
  const reason = new Error("stopping");
  const result = withDeadline(untilAborted, { ...options(clock), signal: controller.signal });
  const failure = rejection(result);
  controller.abort(reason);
  expect(await failure).toBe(reason);
  expect(clock.pendingSleeps).toBe(0);
});

test("does not begin the work when the outer signal is aborted already", async () => {
  const clock = new FakeClock();
  const reason = new Error("stopping");
  let began = false;
  const work = (): Promise<void> => {
    began = true;
    return Promise.resolve();
  };
  await expect(withDeadline(work, { ...options(clock), signal: AbortSignal.abort(reason) })).rejects.toBe(
    reason,
  );
  expect(began).toBe(false);
});

test.each([
  { name: "has succeeded", work: () => Promise.resolve(7) },
  { name: "has failed", work: () => Promise.reject(new Error("broken")) },
])("waits until work $name, and leaves no sleep behind", async ({ work }) => {
  const clock = new FakeClock();
  await settledWithin(work(), { clock, timeoutMs: 5000 });
  expect(clock.pendingSleeps).toBe(0);
});

test("waits no longer than it is told to", async () => {
  const clock = new FakeClock();
  const waited = settledWithin(new Promise(() => undefined), { clock, timeoutMs: 5000 });
  expect(await clock.nextSleep()).toBe(5000);
  clock.advance(5000);
  await waited;
});
