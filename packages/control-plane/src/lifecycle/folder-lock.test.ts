import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockFolder } from "./folder-lock.js";
import { ownIdentity } from "./process-identity.js";

const silent = { answers: () => Promise.resolve(false) };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-lock-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test("a second taker is refused with the pid of the first until that lets go", async () => {
  const first = await lockFolder(folder, silent);
  await expect(lockFolder(folder, silent)).rejects.toMatchObject({
    code: "ALREADY_RUNNING",
    message: expect.stringContaining(String(process.pid)),
  });
  await first[Symbol.asyncDispose]();
  await using second = await lockFolder(folder, silent);
  expect(second).toBeDefined();
});

test("of many takers at the same instant exactly one wins", async () => {
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder, silent)));
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

test("a holder that was killed blocks nobody", async () => {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const started = await identityOf(child.pid!);
  await writeFile(join(folder, "7"), JSON.stringify(started));
  await expect(lockFolder(folder, silent)).rejects.toMatchObject({ code: "ALREADY_RUNNING" });
  child.kill("SIGKILL");
  await once(child, "exit");
  await using taken = await lockFolder(folder, silent);
  expect(taken).toBeDefined();
  expect(await readdir(folder)).toEqual(["8"]);
});

test("another process under the dead holder's pid does not hold the lock", async () => {
  const self = await ownIdentity();
  await writeFile(join(folder, "1"), JSON.stringify({ ...self, started: "1@another-boot" }));
  await using taken = await lockFolder(folder, silent);
  expect(taken).toBeDefined();
});

test("a holder in another container counts as alive while it answers", async () => {
  const foreign = { ...(await ownIdentity()), pidNamespace: "pid:[1]" };
  await writeFile(join(folder, "1"), JSON.stringify(foreign));
  await expect(lockFolder(folder, { answers: () => Promise.resolve(true) })).rejects.toMatchObject({
    code: "ALREADY_RUNNING",
  });
  await using taken = await lockFolder(folder, silent);
  expect(taken).toBeDefined();
});

test.each(["", "{", '{"pid":0}', "null"])("a lock file that says %j is held by nobody", async (content) => {
  await writeFile(join(folder, "3"), content);
  await using taken = await lockFolder(folder, silent);
  expect(taken).toBeDefined();
});

test("a folder that cannot be made is told", async () => {
  await writeFile(join(folder, "file"), "");
  await expect(lockFolder(join(folder, "file", "lock"), silent)).rejects.toMatchObject({
    code: "STORAGE_UNWRITABLE",
  });
});

async function identityOf(pid: number): Promise<object> {
  const { readFile } = await import("node:fs/promises");
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { ...(await ownIdentity()), pid, started: `${fields[19]!}@${boot}` };
}
