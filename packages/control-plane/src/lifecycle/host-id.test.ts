import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { hostId } from "./host-id.js";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-host-id-"));
  file = join(folder, "host-id");
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

test("is made once, for its owner alone, and stays", async () => {
  const made = await hostId(file);
  expect(made).toMatch(/^[0-9a-f-]{36}$/);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const kept = await stat(file);
  expect(await hostId(file)).toBe(made);
  expect((await stat(file)).ino).toBe(kept.ino);
  expect(await readFile(file, "utf8")).toBe(`${made}\n`);
  expect(await readdir(folder)).toEqual(["host-id"]);
});

test("what holds something else, or cannot be read, is not passed over", async () => {
  await writeFile(file, "not one\n");
  await expect(hostId(file)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await rm(file);
  await mkdir(file);
  await expect(hostId(file)).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
});
