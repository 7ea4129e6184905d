import type { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { storePipes, takeStoredPipes } from "./service-manager.js";

test.each([
  { name: "both, in any order", pid: "7", names: "other:rkl-identity:rkl-identity", expected: [4, 5] },
  { name: "for another process", pid: "8", names: "rkl-identity:rkl-identity", expected: undefined },
  { name: "only one", pid: "7", names: "rkl-identity:stored", expected: undefined },
  { name: "none", pid: undefined, names: undefined, expected: undefined },
])("pipes that systemd kept: $name", ({ pid, names, expected }) => {
  const env = { LISTEN_PID: pid, LISTEN_FDS: "3", LISTEN_FDNAMES: names, PATH: "/bin" };
  expect(takeStoredPipes(env, 7)).toEqual(expected);
  expect(env).toEqual({ PATH: "/bin" });
});

test("pipes are given to systemd by its own program, and not at all without systemd", () => {
  const calls: unknown[] = [];
  const run = ((...call: unknown[]) => void calls.push(call)) as unknown as typeof execFileSync;
  expect(storePipes([20, 21], {}, run)).toBe(false);
  expect(storePipes([20, 21], { NOTIFY_SOCKET: "/run/systemd/notify" }, run)).toBe(true);
  expect(calls).toEqual([
    [
      "systemd-notify",
      ["--fd=3", "--fd=4", "--fdname=rkl-identity", "FDSTORE=1"],
      { stdio: ["ignore", "ignore", "ignore", 20, 21], timeout: 5000 },
    ],
  ]);
});

test("a systemd that is too old is the same as none", () => {
  const run = ((): never => {
    throw new Error("unrecognized option '--fd=3'");
  }) as typeof execFileSync;
  expect(storePipes([20, 21], { NOTIFY_SOCKET: "/run/systemd/notify" }, run)).toBe(false);
});
