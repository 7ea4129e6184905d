import { expect, test } from "vitest";
import { untilCommitted } from "./until-committed.js";

test("what lost a race is thought through again, and its result handed on", async () => {
  let attempts = 0;
  const work = () => Promise.resolve(++attempts < 3 ? undefined : "done");
  expect(await untilCommitted("busy", work)).toBe("done");
  expect(attempts).toBe(3);
});

test("whoever loses eight times in a row is told to try again", async () => {
  let attempts = 0;
  const work = () => Promise.resolve(void attempts++);
  const lost = untilCommitted('node "worker-1" is changing at this moment', work);
  await expect(lost).rejects.toMatchObject({
    code: "CONFLICT",
    message: 'node "worker-1" is changing at this moment',
    suggestion: "Try again.",
  });
  expect(attempts).toBe(8);
});

test("what an attempt throws ends it", async () => {
  let attempts = 0;
  const work = () => Promise.reject(new Error(`attempt ${++attempts}`));
  await expect(untilCommitted("busy", work)).rejects.toThrow("attempt 1");
});
