import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { systemClock } from "@rk8s/host";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Barrier } from "../vault/seal/barrier.js";
import { Keyring } from "../vault/seal/keyring.js";
import type { BackupHeader } from "./backup-file.js";
import { readBackupEntries, readBackupHeader } from "./backup-file.js";
import { takeBackup } from "./take-backup.js";

const never = new AbortController().signal;

let folder: string;
let vaultFolder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-take-backup-"));
  vaultFolder = join(folder, "vault");
  file = join(folder, "backup");
  await mkdir(vaultFolder);
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** What it does to a store with three entries. */
async function take(
  to = file,
  openFolder: (path: string) => Promise<Storage> = () => Promise.resolve(memoryStorage()),
): Promise<BackupHeader> {
  const storage = memoryStorage();
  await storage.transaction([], [{ type: "put", key: "core/keyring", value: Buffer.from("keys") }]);
  const guard = Barrier.create(storage, Keyring.create(systemClock.now()));
  await guard.transaction([], [{ type: "put", key: "a", value: Buffer.from("1") }]);
  const init = { storage, vault: "v1", epoch: 0, guard, file: to, vaultFolder };
  return takeBackup(init, { clock: systemClock, openFolder }, never);
}

test("a backup has every entry, and nothing but its file is left", async () => {
  const { entries } = await take();
  const { bytes } = await readBackupHeader(file);
  const keys: string[] = [];
  for await (const { key } of readBackupEntries(file, bytes)) keys.push(key);
  expect(keys).toEqual(["core/keyring", "core/sequence", "barrier/a"]);
  expect(entries).toBe(3);
  expect(await readdir(folder)).toEqual(["backup", "vault"]);
});

test.each(["backup.scratch/photo", "backup.new"])("somebody's file %s is left as it is", async (name) => {
  const own = join(folder, name);
  await mkdir(dirname(own), { recursive: true });
  await writeFile(own, "mine");
  await take().catch(() => undefined);
  expect(await readFile(own, "utf8")).toBe("mine");
});

test("what may be a backup that was cut off is named, and not removed", async () => {
  await mkdir(`${file}.scratch`);
  await expect(take()).rejects.toMatchObject({
    code: "ALREADY_EXISTS",
    message: expect.stringContaining("backup.scratch"),
  });
  expect(await readdir(folder)).toEqual(["backup.scratch", "vault"]);
});

test("a file that exists is refused before anything is copied", async () => {
  await writeFile(file, "older");
  let isOpened = false;
  const openFolder = (): Promise<Storage> => {
    isOpened = true;
    return Promise.resolve(memoryStorage());
  };
  await expect(take(file, openFolder)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  expect(isOpened).toBe(false);
  expect(await readFile(file, "utf8")).toBe("older");
});

test("a file that came while the backup was made is not replaced, and nothing else is left", async () => {
  const openFolder = async (): Promise<Storage> => {
    await writeFile(file, "another's");
    return memoryStorage();
  };
  await expect(take(file, openFolder)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  expect(await readFile(file, "utf8")).toBe("another's");
  expect(await readdir(folder)).toEqual(["backup", "vault"]);
});

test("no backup is put into the vault folder, by whatever path", async () => {
  await mkdir(join(vaultFolder, "below"));
  await symlink(vaultFolder, join(folder, "link"));
  for (const path of ["vault/storage.json", "vault/below/b", "link/.store-incoming", "vault/../vault/b"]) {
    await expect(take(`${folder}/${path}`)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  }
  expect(await readdir(vaultFolder)).toEqual(["below"]);
  await mkdir(join(folder, "vault-backups"));
  await take(join(folder, "vault-backups", "b"));
});

test("a backup that fails leaves nothing, and one to a folder that is not there says so", async () => {
  await expect(take(file, () => Promise.reject(new Error("no store")))).rejects.toThrow("no store");
  expect(await readdir(folder)).toEqual(["vault"]);
  await expect(take(join(folder, "missing", "b"))).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
});
