import { mkdtemp, readdir, readFile, readlink, rename, rm, symlink, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { anUnsealedVault, echoBackend, type TestVault } from "../testing/unsealed-vault.js";

let folder: string;
let path: string;
let aVault: TestVault;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "audited "));
  path = join(folder, "audit.log");
  aVault = await anUnsealedVault({ backends: { echo: echoBackend } });
  const { vault, root } = aVault;
  await vault.write(root, "sys/mounts/things", { type: "echo" });
  await vault.write(root, "sys/audit/file", { type: "file", options: { file_path: path } });
});

afterEach(async () => {
  await aVault[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** Type, operation and path of each line after those of enabling. */
async function linesOf(file = path): Promise<string[]> {
  const text = await readFile(file, "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { type: string; request: { operation: string; path: string } })
    .map(({ type, request }) => `${type} ${request.operation} ${request.path}`)
    .filter((line) => !line.includes("sys/audit/"));
}

async function fill(): Promise<void> {
  await rename(path, `${path}.old`);
  await symlink("/dev/full", path);
}

test("what is allowed and what is refused is recorded before and after, without tokens and values", async () => {
  const { vault, root, tokenWith } = aVault;
  const token = await tokenWith({ policies: ["default"] });
  await vault.write(root, "things/a", { password: "s3cret-value" });
  await expect(vault.read(token, "things/a")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  await expect(vault.read("hvs.nobody-has-this-token", "things/a")).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
  const text = await readFile(path, "utf8");
  for (const secret of [root.reveal(), token, "s3cret-value", "hvs."]) expect(text).not.toContain(secret);
  expect(await linesOf()).toEqual([
    "request update auth/token/create",
    "response update auth/token/create",
    "request update things/a",
    "response update things/a",
    "request read things/a",
    "response read things/a",
    "request read things/a",
    "response read things/a",
  ]);
  const answer = await vault.write(root, "sys/audit-hash/file", { input: token });
  expect(text).toContain(`"client_token":"${String(answer?.data?.["hash"])}"`);
});

test("on a full disk nothing is stored and nothing answered until there is room", async () => {
  const { vault, root, storage } = aVault;
  const before = (await storage.list("")).revision;
  await fill();
  await expect(vault.write(root, "things/a", { x: "1" })).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await expect(vault.read(root, "sys/mounts")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect((await storage.list("")).revision).toBe(before);
  await unlink(path);
  await vault.write(root, "things/a", { x: "1" });
  expect(await linesOf()).toEqual(["request update things/a", "response update things/a"]);
});

test("with sudo a vault whose disk is lost is repaired, without it not", async () => {
  const { vault, root, tokenWith } = aVault;
  const token = await tokenWith({ policies: ["default"] });
  await fill();
  await expect(vault.delete(token, "sys/audit/file")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect((await vault.read(root, "sys/audit"))?.data).toHaveProperty(["file/"]);
  expect((await vault.read(root, "sys/audit/"))?.data).toHaveProperty(["file/"]);
  const other = join(folder, "other.log");
  await vault.write(root, "sys/audit/other", { type: "file", options: { file_path: other } });
  await vault.read(root, "things/a");
  expect(await linesOf(other)).toEqual(["request read things/a", "response read things/a"]);
});

test("the request that seals the vault is recorded to its end, and recording goes on when it is unsealed", async () => {
  const { vault, root, share } = aVault;
  await vault.write(root, "sys/seal", {});
  await vault.unseal(share);
  await vault.read(root, "things/a");
  expect(await linesOf()).toEqual([
    "request update sys/seal",
    "response update sys/seal",
    "request read things/a",
    "response read things/a",
  ]);
});

test("a vault whose audit disk is gone when it is unsealed is unsealed and refuses everything", async () => {
  const { vault, root, share } = aVault;
  await vault.seal();
  await fill();
  expect((await vault.unseal(share)).sealed).toBe(false);
  await expect(vault.read(root, "things/a")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await unlink(path);
  expect(await vault.read(root, "things/a")).toBeDefined();
});

/** The files that this process has open. */
async function openFiles(): Promise<readonly string[]> {
  const names = await readdir("/proc/self/fd");
  return Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => "")));
}

test.skipIf(process.platform !== "linux")(
  "a vault that cannot be unsealed leaves no audit file open",
  async () => {
    const { vault, share } = aVault;
    expect(await openFiles()).toContain(path);
    const value = Buffer.from("no table");
    await vault.barrier.transaction([], [{ type: "put", key: "core/mounts", value }]);
    await vault.seal();
    await expect(vault.unseal(share)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(await openFiles()).not.toContain(path);
  },
);
