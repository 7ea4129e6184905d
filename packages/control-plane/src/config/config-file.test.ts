import { mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readConfig, writeSampleConfig } from "./config-file.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-config-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test("the sample that is written can be read", async () => {
  const file = join(folder, "config.yaml");
  await writeSampleConfig(file);
  expect((await readConfig(file)).config.vaultFolder).toBe(join(folder, "rks-data"));
  expect((await stat(file)).mode & 0o022).toBe(0);
});

test("an existing file is never overwritten", async () => {
  const file = join(folder, "config.yaml");
  await writeFile(file, "mine");
  await expect(writeSampleConfig(file)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  expect(await readFile(file, "utf8")).toBe("mine");
});

test("a folder that does not exist is named", async () => {
  await expect(writeSampleConfig(join(folder, "no", "config.yaml"))).rejects.toMatchObject({
    code: "STORAGE_UNWRITABLE",
  });
});

test("a config that is not there names the command that makes one", async () => {
  const file = join(folder, "none.yaml");
  await expect(readConfig(file)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    suggestion: expect.stringContaining(`rks config init ${file}`),
  });
});

test("a folder and a huge file are refused", async () => {
  await expect(readConfig(folder)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  const file = join(folder, "huge.yaml");
  await writeFile(file, "");
  await truncate(file, 2_000_000);
  await expect(readConfig(file)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});
