import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "@rk8s/protocol";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ControlPlaneConfig } from "./config/config.js";
import { parseConfig } from "./config/parse-config.js";
import { type ControlPlane, createControlPlane } from "./control-plane.js";
import { initializeControlPlane } from "./initialize-control-plane.js";
import { restoreControlPlane } from "./restore-control-plane.js";

const actor = { actor: "test" };

let folder: string;
let backup: string;
/** The control plane that the backup is of. */
let first: ControlPlaneConfig;
let shares: readonly Secret<string>[];
let openToken: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-restore-"));
  backup = join(folder, "backup");
  first = aConfig("first");
  await initializeControlPlane(first);
  const { keys } = JSON.parse(await readFile(join(first.vaultFolder, "keys.json"), "utf8")) as {
    keys: string[];
  };
  shares = keys.map((key) => new Secret(key));
  await using controlPlane = await open(first);
  openToken = (await controlPlane.cluster().joinTokens.create({}, actor)).id;
  const { signal } = new AbortController();
  await controlPlane.backupStore(backup, { ...actor, signal });
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const aConfig = (name: string): ControlPlaneConfig =>
  parseConfig(
    `addr: "127.0.0.1:0"\nhttp_addr: ""\ntls_config: { vault_folder: ${name} }\n`,
    join(folder, "config.yaml"),
  ).config;
const open = (config: ControlPlaneConfig): Promise<ControlPlane> =>
  createControlPlane(config, { transport: createMemoryTransport() });
const restore = (config: ControlPlaneConfig, file = backup): ReturnType<typeof restoreControlPlane> =>
  restoreControlPlane(config, { file, shares, adoptNodes: false });

/** An empty host with the unseal keys. */
async function emptyHost(): Promise<ControlPlaneConfig> {
  const config = aConfig("other");
  await mkdir(config.vaultFolder);
  await copyFile(join(first.vaultFolder, "keys.json"), join(config.vaultFolder, "keys.json"));
  return config;
}

test("a backup is restored on an empty host: the same vault in a new epoch, open tokens void, an audit record", async () => {
  const config = await emptyHost();
  const restored = await restore(config);
  expect(restored).toMatchObject({ epoch: 1 });
  await using controlPlane = await open(config);
  const tokens = await controlPlane.cluster().joinTokens.list();
  expect(tokens).toMatchObject([{ id: openToken, status: "revoked" }]);
  expect(controlPlane.storeStatus()).toMatchObject({ epoch: 1, restoredFrom: restored.createdAt });
  const audit = await readFile(join(config.vaultFolder, "audit.log"), "utf8");
  expect(audit).toContain('"operation":"storage.restore"');
  const made = await controlPlane.cluster().joinTokens.create({}, actor);
  await controlPlane[Symbol.asyncDispose]();
  // Voiding happens once: what is made afterwards stays.
  await using again = await open(config);
  const later = await again.cluster().joinTokens.list();
  expect(later.find(({ id }) => id === made.id)?.status).toBe("usable");
});

test("on the host of the backup the store of before is refused from then on", async () => {
  const before = join(folder, "before");
  const store = join(first.vaultFolder, "store");
  await rename(store, before);
  await restore(first);
  {
    await using controlPlane = await open(first);
    expect(controlPlane.storeStatus().epoch).toBe(1);
  }
  await rename(store, join(folder, "restored"));
  await rename(before, store);
  await expect(open(first)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("the same backup restored again is yet another epoch", async () => {
  const config = await emptyHost();
  await restore(config);
  await (await open(config))[Symbol.asyncDispose]();
  await rename(join(config.vaultFolder, "store"), join(folder, "first-restore"));
  expect((await restore(config)).epoch).toBe(2);
});

test("what came back whole from another store, and was not put into its place yet, is not taken for half a copy", async () => {
  const store = join(first.vaultFolder, "store");
  await rename(store, join(folder, "before"));
  await restore(first);
  await rename(store, join(first.vaultFolder, ".store-incoming"));
  await expect(restore(first)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  await using controlPlane = await open(first);
  expect(controlPlane.storeStatus().epoch).toBe(1);
});

test("the host remembers a restore from its end on, before the first start: the store of before is refused", async () => {
  const store = join(first.vaultFolder, "store");
  const before = join(folder, "before");
  await rename(store, before);
  await restore(first);
  await rm(store, { recursive: true });
  await rename(before, store);
  await expect(open(first)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("nothing is restored over a store, and nothing over a backup", async () => {
  await expect(restore(first)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  await using controlPlane = await open(first);
  const { signal } = new AbortController();
  await expect(controlPlane.backupStore(backup, { ...actor, signal })).rejects.toMatchObject({
    code: "ALREADY_EXISTS",
  });
  await expect(restore(first)).rejects.toMatchObject({ code: "ALREADY_RUNNING" });
});

test.each([
  {
    name: "a bit flipped in an entry",
    change: (bytes: Buffer) => bytes.writeUInt8(bytes.readUInt8(bytes.length - 9) ^ 1, bytes.length - 9),
  },
  {
    name: "a bit flipped in the first line",
    change: (bytes: Buffer) => bytes.write('"epoch":7', bytes.indexOf('"epoch":0')),
  },
])("$name is refused, and nothing is there afterwards", async ({ change }) => {
  const config = await emptyHost();
  const bytes = await readFile(backup);
  change(bytes);
  const altered = join(folder, "altered");
  await writeFile(altered, bytes);
  await expect(restore(config, altered)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await expect(open(config)).rejects.toMatchObject({ code: "VAULT_NOT_INITIALIZED" });
});

test("a backup that is cut short, or is none, is refused", async () => {
  const config = await emptyHost();
  const bytes = await readFile(backup);
  const cut = join(folder, "cut");
  for (const length of [bytes.length - 1, bytes.indexOf("\n") + 1, bytes.indexOf("\n") + 3]) {
    await writeFile(cut, bytes.subarray(0, length));
    await expect(restore(config, cut)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  }
  for (const text of ["", "{}\n", "no backup"]) {
    await writeFile(cut, text);
    await expect(restore(config, cut)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  }
});

test("another vault's unseal keys do not restore it, nor too few", async () => {
  const config = await emptyHost();
  const wrong = [new Secret(Buffer.alloc(32, 7).toString("base64"))];
  for (const given of [wrong, []]) {
    await expect(
      restoreControlPlane(config, { file: backup, shares: given, adoptNodes: false }),
    ).rejects.toMatchObject({ code: "UNSEAL_KEY_INVALID" });
  }
});
