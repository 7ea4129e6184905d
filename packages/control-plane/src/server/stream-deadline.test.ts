import { RksError } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { StreamDeadline } from "./stream-deadline.js";

function setUp() {
  const clock = new FakeClock();
  const outer = new AbortController();
  const deadline = new StreamDeadline({ clock, signal: outer.signal });
  const wait = async (attempt: string): Promise<void> =>
    deadline.limit(
      attempt,
      (signal) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
    );
  return { clock, outer, deadline, wait };
}

test("each wait has its own ten seconds", async () => {
  const { clock, deadline, wait } = setUp();
  await deadline.limit("first", async () => Promise.resolve());
  clock.advance(9_000);
  const waiting = wait("second");
  let isOver = false;
  waiting.catch(() => (isOver = true));
  clock.advance(1_000);
  while ((await clock.nextSleep()) !== 9_000);
  expect(isOver).toBe(false);
  clock.advance(9_000);
  await expect(waiting).rejects.toMatchObject({ code: "TIMED_OUT", message: "second within 10 s" });
});

test("what took no time in between does not count, and a wait after a lost one has its time again", async () => {
  const { clock, deadline, wait } = setUp();
  const lost = wait("first");
  clock.advance(10_000);
  await expect(lost).rejects.toMatchObject({ code: "TIMED_OUT" });
  await deadline.limit("second", async () => Promise.resolve());
  const third = wait("third");
  while ((await clock.nextSleep()) !== 10_000);
  clock.advance(10_000);
  await expect(third).rejects.toMatchObject({ message: "third within 10 s" });
});

test("the connection's end ends the wait and refuses the next", async () => {
  const { outer, wait } = setUp();
  const waiting = wait("first");
  outer.abort(new RksError("CONNECTION_LOST", "gone"));
  await expect(waiting).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await expect(wait("second")).rejects.toMatchObject({ code: "CONNECTION_LOST" });
});

test("nothing is left when the stream has been served", async () => {
  const { clock, deadline } = setUp();
  await deadline.limit("first", async () => Promise.resolve());
  deadline[Symbol.dispose]();
  await Promise.resolve();
  expect(clock.pendingSleeps).toBe(0);
});
