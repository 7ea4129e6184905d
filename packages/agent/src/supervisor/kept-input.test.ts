import { execFileSync, spawn } from "node:child_process";
import { closeSync, constants, openSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { KeptInput } from "./kept-input.js";

const DASH = ["pod", "daemon", "--join-token-file", "-"];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rkl-input-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

function holding(text: string | Uint8Array): number {
  const file = join(folder, "input");
  writeFileSync(file, text);
  return openSync(file, "r");
}

function read(
  descriptor: number,
  argv: readonly string[] = DASH,
  env: Record<string, string> = {},
): KeptInput | undefined {
  try {
    return KeptInput.read(argv, env, descriptor);
  } finally {
    closeSync(descriptor);
  }
}

test.each([
  { argv: DASH, env: {}, isRead: true },
  { argv: ["pod", "daemon", "--join-token-file=-"], env: {}, isRead: true },
  { argv: ["pod", "daemon"], env: { JOIN_TOKEN_FILE: "-" }, isRead: true },
  { argv: ["pod", "daemon"], env: { JOIN_TOKEN_FILE: "-", JOIN_TOKEN: "rkj1.x" }, isRead: false },
  {
    argv: ["pod", "daemon", "--join-token-file", "/run/token"],
    env: { JOIN_TOKEN_FILE: "-" },
    isRead: false,
  },
  { argv: ["pod", "daemon", "--join-token=rkj1.x"], env: { JOIN_TOKEN_FILE: "-" }, isRead: false },
  { argv: ["pod", "daemon"], env: { JOIN_TOKEN_FILE: "/run/token" }, isRead: false },
  { argv: ["pod", "daemon"], env: {}, isRead: false },
])("stdin is read only when the token is there: $argv $env", ({ argv, env, isRead }) => {
  expect(read(holding("a token\n"), argv, env) !== undefined).toBe(isRead);
});

test("every copy is whole until it is forgotten", () => {
  const input = read(holding("a token\n"))!;
  for (let i = 0; i < 2; i += 1) {
    const copy = input.copy();
    expect(copy.toString()).toBe("a token\n");
    copy.fill(0);
  }
  input.forget();
  expect(input.copy()).toHaveLength(0);
  input.forget();
});

test("what is nothing is nothing, what is endless is cut off where it is too long for a token", () => {
  expect(read(holding(""))!.copy()).toHaveLength(0);
  expect(read(openSync("/dev/zero", "r"))!.copy()).toHaveLength(4097);
});

test("what cannot be read is left to the worker, which says why", () => {
  expect(read(openSync(folder, "r"))).toBeUndefined();
});

test("a pipe that does not block is waited for", () => {
  const fifo = join(folder, "fifo");
  execFileSync("mkfifo", [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(fifo, constants.O_WRONLY);
  spawn("/bin/sh", ["-c", "printf 'a to' >&3; printf 'ken' >&3"], {
    stdio: ["ignore", "ignore", "ignore", writer],
  });
  closeSync(writer);
  expect(read(reader)!.copy().toString()).toBe("a token");
});
