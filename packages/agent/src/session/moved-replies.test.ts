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
  const { resume } = moved.leave(rest);
  expect(moved.take(resume)).toBe(rest);
  expect(() => moved.take(resume)).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  expect(rest.life.signal.aborted).toBe(false);
  expect(clock.pendingSleeps).toBe(0);
});

test("it is told when what was left was asked for, and when it is kept no more", async () => {
  const clock = new FakeClock();
  using moved = new MovedReplies({ clock });
  const [asked, forgotten] = [moved.leave(aRest()), moved.leave(aRest())];
  let said = "";
  void asked.gone.then(() => (said += "asked "));
  void forgotten.gone.then(() => (said += "forgotten"));
  await new Promise(setImmediate);
  expect(said).toBe("");
  moved.take(asked.resume);
  await new Promise(setImmediate);
  expect(said).toBe("asked ");
  clock.advance(60_000);
  await new Promise(setImmediate);
  expect(said).toBe("asked forgotten");
});

test("what nobody asks for within a minute is ended", async () => {
  const clock = new FakeClock();
  using moved = new MovedReplies({ clock });
  const [asked, forgotten] = [aRest(), aRest()];
  const { resume } = moved.leave(asked);
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
