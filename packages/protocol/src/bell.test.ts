import { expect, test } from "vitest";
import { Bell } from "./bell.js";

const never = new AbortController().signal;

test("a ring wakes all who wait, and nobody who waits later", async () => {
  const bell = new Bell();
  const both = Promise.all([bell.wait(never), bell.wait(never)]);
  expect(bell.isAwaited).toBe(true);
  bell.ring();
  await both;
  expect(bell.isAwaited).toBe(false);
  let isWoken = false;
  const late = bell.wait(never).then(() => (isWoken = true));
  await Promise.resolve();
  expect(isWoken).toBe(false);
  bell.ring();
  await late;
});

test("whoever is aborted waits no more, and does not fail", async () => {
  const bell = new Bell();
  const abort = new AbortController();
  const waiting = bell.wait(abort.signal);
  abort.abort();
  await waiting;
  expect(bell.isAwaited).toBe(false);
});
