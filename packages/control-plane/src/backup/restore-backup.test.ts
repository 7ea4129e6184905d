import { copyFile, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "@rk8s/protocol";
import { createMemoryTransport, FakeClock } from "@rk8s/protocol/testing";
import { type Comparison, memoryStorage, pagesOf, type Storage, type Write } from "@rk8s/storage";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseConfig } from "../config/parse-config.js";
import { createControlPlane } from "../control-plane.js";
import { initializeControlPlane } from "../initialize-control-plane.js";
import { readState } from "../store/store-state.js";
import { readBackupEntries, readBackupHeader } from "./backup-file.js";
import { restoreBackup, type RestoreResult } from "./restore-backup.js";

let folder: string;
let file: string;
let shares: readonly Secret<string>[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-restore-backup-"));
  file = join(folder, "backup");
  const { config } = parseConfig(
    `addr: "127.0.0.1:0"\nhttp_addr: ""\ntls_config: { vault_folder: vault }\n`,
    join(folder, "config.yaml"),
  );
  await initializeControlPlane(config);
  const { keys } = JSON.parse(await readFile(join(config.vaultFolder, "keys.json"), "utf8")) as {
    keys: string[];
  };
  shares = keys.map((key) => new Secret(key));
  await using controlPlane = await createControlPlane(config, { transport: createMemoryTransport() });
  await controlPlane.backupStore(file, { actor: "test", signal: new AbortController().signal });
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

type BeforeTransaction = (writes: readonly Write[], comparisons: readonly Comparison[]) => Promise<unknown>;

/** A store, with something that happens before each of its transactions. */
function watched(inner: Storage, before: BeforeTransaction): Storage {
  return {
    get: (key) => inner.get(key),
    list: (prefix, range) => inner.list(prefix, range),
    transaction: async (comparisons, writes) => {
      await before(writes, comparisons);
      return inner.transaction(comparisons, writes);
    },
    watch: (...parameters) => inner.watch(...parameters),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
}

function restore(target: Storage, from = file): Promise<RestoreResult> {
  const init = { file: from, target, to: "there", shares, seenEpoch: () => 0, adoptNodes: false };
  return restoreBackup(init, { clock: new FakeClock() });
}

async function contents(storage: Storage): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for await (const entries of pagesOf(storage, "")) {
    for (const { key, value } of entries) all.set(key, Buffer.from(value).toString("hex"));
  }
  return all;
}

const isContentWrite = (writes: readonly Write[]): boolean =>
  writes.some(({ key }) => key.startsWith("barrier/"));
const live: Write = { type: "put", key: "barrier/live", value: Buffer.from("1") };

test("a restore that stood still while another one filled the store changes nothing there any more", async () => {
  const inner = memoryStorage();
  let before: Map<string, string> | undefined;
  const target = watched(inner, async (writes) => {
    if (before !== undefined || !isContentWrite(writes)) return;
    await restore(inner);
    await inner.transaction([], [live]);
    before = await contents(inner);
  });
  await expect(restore(target)).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await contents(inner)).toEqual(before);
  expect(before?.has("barrier/live")).toBe(true);
});

test("a restore that stood still before it emptied what was left there deletes nothing of another one", async () => {
  const inner = memoryStorage();
  const stop = watched(inner, (writes) =>
    isContentWrite(writes) ? Promise.reject(new Error("killed")) : Promise.resolve(),
  );
  await expect(restore(stop)).rejects.toThrow("killed");
  await inner.transaction([], [live]);
  let before: Map<string, string> | undefined;
  const target = watched(inner, async (writes) => {
    if (before !== undefined || !writes.some(({ type }) => type === "delete")) return;
    await restore(inner);
    await inner.transaction([], [live]);
    before = await contents(inner);
  });
  await expect(restore(target)).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await contents(inner)).toEqual(before);
});

test("of two restores that find a store empty at the same time one is refused", async () => {
  const inner = memoryStorage();
  let isFirst = true;
  const target = watched(inner, async () => {
    if (!isFirst) return;
    isFirst = false;
    await restore(inner);
    await inner.transaction([], [live]);
  });
  await expect(restore(target)).rejects.toMatchObject({ code: "CONFLICT" });
  expect((await readState(inner))?.state.state).toBe("active");
  expect(await inner.get("barrier/live")).toBeDefined();
});

test("what a restore that was killed has left is replaced by the next", async () => {
  const inner = memoryStorage();
  const whole = memoryStorage();
  await restore(whole);
  const stop = watched(inner, (writes) =>
    isContentWrite(writes) ? Promise.reject(new Error("killed")) : Promise.resolve(),
  );
  await expect(restore(stop)).rejects.toThrow("killed");
  await inner.transaction([], [live]);
  await restore(inner);
  expect([...(await contents(inner)).keys()]).toEqual([...(await contents(whole)).keys()]);
  await expect(restore(inner)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
});

test.each([
  {
    name: "is cut at the end of an entry",
    change: (path: string, entryEnds: readonly number[]) => truncate(path, entryEnds.at(-2)),
  },
  { name: "is emptied", change: (path: string) => truncate(path, 0) },
  {
    name: "has an entry's last byte changed",
    change: async (path: string) => {
      const bytes = await readFile(path);
      bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
      await writeFile(path, bytes);
    },
  },
])("a file that $name between its two readings makes no vault", async ({ change }) => {
  const changed = join(folder, "changed");
  await copyFile(file, changed);
  const { bytes: first } = await readBackupHeader(changed);
  const ends: number[] = [];
  for await (const { key, value } of readBackupEntries(changed, first)) {
    ends.push((ends.at(-1) ?? first) + 8 + Buffer.byteLength(key) + value.byteLength);
  }
  const inner = memoryStorage();
  let isFirst = true;
  const target = watched(inner, async () => {
    if (isFirst) await change(changed, ends);
    isFirst = false;
  });
  await expect(restore(target, changed)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  expect((await readState(inner))?.state.state).toBe("restoring");
  await restore(inner);
  expect((await readState(inner))?.state.state).toBe("active");
});

test("a file with more of a seal than any vault has is refused before it is all read", async () => {
  const { bytes } = await readBackupHeader(file);
  const whole = await readFile(file);
  const entry = Buffer.from("\0\0\0\x06core/x\0\0\0\0", "latin1");
  const swollen = join(folder, "swollen");
  await writeFile(swollen, Buffer.concat([whole.subarray(0, bytes), ...Array<Buffer>(200).fill(entry)]));
  await expect(restore(memoryStorage(), swollen)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});
