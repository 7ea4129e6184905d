import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { createKeyFile, readKeyFile } from "./key-file.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-key-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test("a key file holds 32 random bytes for its owner alone, and is read back", async () => {
  const path = join(folder, "key");
  const key = await createKeyFile(path);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readKeyFile(path)).toEqual(key);
});

test("a key file is never overwritten", async () => {
  const path = join(folder, "key");
  const key = await createKeyFile(path);
  await expect(createKeyFile(path)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  expect(await readKeyFile(path)).toEqual(key);
});

test("a key file that others may read is refused", async () => {
  const path = join(folder, "key");
  await createKeyFile(path);
  await chmod(path, 0o640);
  await expect(readKeyFile(path)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("a key file that is missing, too long or in no folder is refused", async () => {
  await expect(readKeyFile(join(folder, "none"))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await writeFile(join(folder, "long"), Buffer.alloc(33), { mode: 0o600 });
  await expect(readKeyFile(join(folder, "long"))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await expect(createKeyFile(join(folder, "no", "key"))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});
