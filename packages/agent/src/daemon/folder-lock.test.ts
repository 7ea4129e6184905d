import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { formatProcessIdentity, identifyProcess } from "../runtime/process/process-identity.js";
import { lockFolder } from "./folder-lock.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rkl lock "));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test("a lock is refused with the pid of its holder until it is disposed, and leaves nothing", async () => {
  const lock = await lockFolder(folder);
  expect((await stat(join(folder, "rkl.lock"))).mode & 0o077).toBe(0);
  await expect(lockFolder(folder)).rejects.toMatchObject({
    code: "ALREADY_RUNNING",
    message: `an agent with pid ${process.pid} runs on the same data folder`,
  });
  await lock[Symbol.asyncDispose]();
  await lock[Symbol.asyncDispose]();
  expect(await readdir(folder)).toEqual([]);
  await (await lockFolder(folder))[Symbol.asyncDispose]();
});

test("the lock of a process that was killed does not count", async () => {
  const child = spawn("sleep", ["600"]);
  await writeFile(join(folder, "rkl.lock"), formatProcessIdentity(await identifyProcess(child.pid!)));
  await expect(lockFolder(folder)).rejects.toMatchObject({ code: "ALREADY_RUNNING" });
  child.kill("SIGKILL");
  await once(child, "exit");
  await using _ = await lockFolder(folder);
  expect(await readdir(folder)).toEqual(["rkl.lock"]);
});

test.each([
  { name: "another process with the same pid", content: `${process.pid}\n1\n\n` },
  { name: "half a lock", content: `${process.pid}` },
  { name: "nothing", content: "" },
])("$name is no holder", async ({ content }) => {
  await writeFile(join(folder, "rkl.lock"), content);
  await using _ = await lockFolder(folder);
  expect(await readFile(join(folder, "rkl.lock"), "utf8")).toMatch(new RegExp(`^${process.pid}\n`));
});

test("a supervisor holds the lock while the process that it starts again is dead", async () => {
  const supervisor = spawn("sleep", ["600"]);
  const worker = spawn("sleep", ["600"]);
  const identities = await Promise.all([worker, supervisor].map(({ pid }) => identifyProcess(pid!)));
  const content = identities.map((identity) => formatProcessIdentity(identity)).join("");
  await writeFile(join(folder, "rkl.lock"), content);
  const refusal = { message: `an agent with pid ${supervisor.pid} runs on the same data folder` };

  await expect(lockFolder(folder)).rejects.toMatchObject(refusal);
  await expect(lockFolder(folder, { supervisorPid: supervisor.pid })).rejects.toMatchObject(refusal);
  worker.kill("SIGKILL");
  await once(worker, "exit");
  await expect(lockFolder(folder)).rejects.toMatchObject(refusal);

  await using _ = await lockFolder(folder, { supervisorPid: supervisor.pid });
  await expect(lockFolder(folder)).rejects.toMatchObject(refusal);
  supervisor.kill("SIGKILL");
  await once(supervisor, "exit");
});

test("a lock that somebody else has taken over is not released", async () => {
  const lock = await lockFolder(folder);
  await writeFile(join(folder, "rkl.lock"), "1\n1\n\n");
  await lock[Symbol.asyncDispose]();
  expect(await readdir(folder)).toEqual(["rkl.lock"]);
});

test("a folder that cannot be written is a retryable error with the remedy", async () => {
  await expect(lockFolder(join(folder, "missing"))).rejects.toMatchObject({
    code: "STORAGE_UNWRITABLE",
    suggestion: "Give --data-dir a folder that this user may write to.",
  });
});
