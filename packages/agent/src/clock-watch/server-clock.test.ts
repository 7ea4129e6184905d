import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { ServerClock } from "./server-clock.js";

test("it goes on by the monotonic clock, whatever is done to the wall clock", () => {
  const clock = new FakeClock({ now: 5_000_000 });
  const server = new ServerClock(1_000_000, { clock });
  expect(server.nowMs).toBe(1_000_000);
  clock.advance(30_000);
  clock.jump(600_000);
  expect(server.nowMs).toBe(1_030_000);
  clock.jump(-clock.now());
  expect(server.nowMs).toBe(1_030_000);
});

test("what the control plane said last counts, also when its clock was set back", () => {
  const clock = new FakeClock();
  const server = new ServerClock(1_000_000, { clock });
  clock.advance(10_000);
  server.heard(900_000);
  clock.advance(1000);
  expect(server.nowMs).toBe(901_000);
});
