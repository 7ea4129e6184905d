import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import { type Logger, silentLogger } from "@rk8s/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { vaultFolderAt } from "../lifecycle/vault-folder.js";
import { storeOpeners } from "./open-store.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-open-store-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test.each([
  { mode: "600", warnings: 0 },
  { mode: "640", warnings: 1 },
  { mode: "604", warnings: 1 },
])("a database's URL in a file of mode $mode is warned of $warnings times", async ({ mode, warnings }) => {
  const file = join(folder, "database.url");
  await writeFile(file, "ftp://rks:hunter2@db/rks");
  await chmod(file, mode);
  const said: unknown[] = [];
  const logger: Logger = { ...silentLogger, warn: (message, fields) => void said.push([message, fields]) };
  const openers = storeOpeners(vaultFolderAt(folder), { clock: systemClock, logger });

  await expect(openers.openExternal({ type: "sql", url: { file } })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });

  expect(said).toHaveLength(warnings);
  for (const one of said) expect(one).toEqual([expect.stringContaining("open to other users"), { file }]);
  expect(JSON.stringify(said)).not.toContain("hunter2");
});
