import { expect, test } from "vitest";
import { restartDelayMs, restartsAfterRun, shouldRestart } from "./restart-policy.js";

test.each([
  { policy: "Always", exitCode: 0, again: true },
  { policy: "Always", exitCode: 1, again: true },
  { policy: "OnFailure", exitCode: 0, again: false },
  { policy: "OnFailure", exitCode: 137, again: true },
  { policy: "Never", exitCode: 0, again: false },
  { policy: "Never", exitCode: 1, again: false },
] as const)("$policy after exit code $exitCode: restart $again", ({ policy, exitCode, again }) => {
  expect(shouldRestart(policy, exitCode)).toBe(again);
});

test("the first restart is immediate, then the pause doubles from 10 s to 5 min", () => {
  const delays = [0, 1, 2, 3, 4, 5, 6, 7, 1000].map((restarts) => restartDelayMs(restarts, () => 0) / 1000);
  expect(delays).toEqual([0, 10, 20, 40, 80, 160, 300, 300, 300]);
});

test("chance lengthens a pause by a tenth at most", () => {
  expect(restartDelayMs(1, () => 0.999)).toBe(10_999);
});

test("ten minutes of running make up for every crash before", () => {
  expect(restartsAfterRun(5, 599_999)).toBe(5);
  expect(restartsAfterRun(5, 600_000)).toBe(0);
});
