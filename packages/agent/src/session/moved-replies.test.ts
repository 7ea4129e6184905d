import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { MovedReplies, type RestOfReply } from "./moved-replies.js";

async function* nothing(): AsyncGenerator<Uint8Array> {}

function aRest(): RestOfReply {
  const chunks = nothing();
  return {
    message: { type: "PodLogs", container: "main" },
    chunks,
    next: chunks.next(),
    life: new AbortController(),
  };
}

test("what was left is given once", () => {
  const clock = new FakeClock();
  using moved = new MovedReplies({ clock });
  const rest = aRest();
  const resume = moved.leave(rest);
  expect(moved.take(resume)).toBe(rest);
  expect(() => moved.take(resume)).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  expect(rest.life.signal.aborted).toBe(false);
  expect(clock.pendingSleeps).toBe(0);
});

test("what nobody asks for within a minute is ended", async () => {
  const clock = new FakeClock();
  using moved = new MovedReplies({ clock });
  const [asked, forgotten] = [aRest(), aRest()];
  const resume = moved.leave(asked);
  moved.leave(forgotten);
  moved.take(resume);
  clock.advance(60_000);
  await new Promise(setImmediate);
  expect(asked.life.signal.aborted).toBe(false);
  expect(forgotten.life.signal.aborted).toBe(true);
});

test("the oldest makes room, and the end of all ends each", () => {
  const moved = new MovedReplies({ clock: new FakeClock() });
  const rests = Array.from({ length: 65 }, aRest);
  for (const rest of rests) moved.leave(rest);
  expect(rests.filter(({ life }) => life.signal.aborted)).toEqual([rests[0]]);
  moved[Symbol.dispose]();
  expect(rests.every(({ life }) => life.signal.aborted)).toBe(true);
});
