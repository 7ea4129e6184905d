import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8, silentLogger, utf8 } from "@rk8s/protocol";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ControlPlaneConfig, StoreConfig } from "./config/config.js";
import { parseConfig } from "./config/parse-config.js";
import { type ControlPlane, createControlPlane } from "./control-plane.js";
import { initializeControlPlane } from "./initialize-control-plane.js";
import { NO_MEMBERS, type StoreOpeners } from "./store/choose-store.js";
import { storeName } from "./store/store-name.js";

const ETCD: StoreConfig = { type: "etcd", endpoints: ["http://127.0.0.1:2379"], prefix: "/rk8s" };
const OTHER: StoreConfig = { type: "etcd", endpoints: ["http://127.0.0.1:2479"], prefix: "/rk8s" };
const SOON = { timeout: 8_000, interval: 10 };
const actor = { actor: "test" };

let base: string;
let share: string;
let stores: StoreOpeners;
let inner: Storage;
let opened: ControlPlane[];
let errors: { readonly message: string; readonly fields: unknown }[];

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "rks-left-"));
  errors = [];
  opened = [];
  inner = memoryStorage();
  const remotes = new Map([
    [storeName(ETCD), inner],
    [storeName(OTHER), memoryStorage()],
  ]);
  stores = {
    openFolder: (path) => openLmdbStorage({ folder: path }),
    openExternal: (at) => Promise.resolve(lent(remotes.get(storeName(at))!)),
    useCredentials: () => Promise.resolve(),
    tryCredentials: () => Promise.resolve(NO_MEMBERS),
    membersOf: () => [],
  };
});
afterEach(async () => {
  for (const controlPlane of opened) await controlPlane[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

/** One process's connection to a store. */
function lent(storage: Storage): Storage {
  return {
    get: (key) => storage.get(key),
    list: (prefix, range) => storage.list(prefix, range),
    transaction: (comparisons, writes) => storage.transaction(comparisons, writes),
    watch: (...parameters) => storage.watch(...parameters),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function configIn(name: string, store = ""): Promise<ControlPlaneConfig> {
  const folder = join(base, name);
  await mkdir(folder, { recursive: true });
  const yaml = `addr: "127.0.0.1:0"\nadvertise: [rks.example]\nhttp_addr: ""\n${store}`;
  return parseConfig(yaml, join(folder, "config.yaml")).config;
}

async function open(config: ControlPlaneConfig): Promise<ControlPlane> {
  const logger = {
    ...silentLogger,
    error: (message: string, fields?: unknown) => errors.push({ message, fields }),
  };
  const controlPlane = await createControlPlane(config, {
    transport: createMemoryTransport(),
    stores,
    logger,
  });
  opened.push(controlPlane);
  return controlPlane;
}

/** Two on one store. */
async function pair(): Promise<readonly [ControlPlane, ControlPlane]> {
  const first = await configIn("one");
  await initializeControlPlane(first);
  const keys = await readFile(join(first.vaultFolder, "keys.json"), "utf8");
  share = (JSON.parse(keys) as { readonly keys: readonly string[] }).keys[0]!;
  const one = await open(first);
  await one.migrateStore(ETCD, actor);
  await untilPhase(one, "done");
  const second = await configIn(
    "two",
    'xline_config: { endpoints: ["http://127.0.0.1:2379"], prefix: /rk8s }\n',
  );
  await mkdir(second.vaultFolder, { recursive: true, mode: 0o700 });
  for (const file of ["keys.json", "root.pem"]) {
    await copyFile(join(first.vaultFolder, file), join(second.vaultFolder, file));
  }
  const two = await open(second);
  await expect.poll(() => one.vault.sharing.members.isShared, SOON).toBe(true);
  return [one, two];
}

const untilPhase = (controlPlane: ControlPlane, phase: string): Promise<void> =>
  expect.poll(() => controlPlane.storeStatus().migration?.phase, SOON).toBe(phase);

/** As the steward does to one that is silent. */
async function expel(controlPlane: ControlPlane): Promise<void> {
  const { id } = controlPlane.vault.sharing.members;
  const { entries } = await inner.list("core/members/");
  const { key } = entries.find(({ value }) => fromUtf8(value) === id)!;
  await inner.transaction([], [{ type: "put", key, value: utf8("") }]);
}

test("a vault that left while this rks was not heard is not served from the store that it left", async () => {
  const [one, two] = await pair();
  expect(two.sealed).toBe(false);
  await expel(two);
  await one.migrateStore(OTHER, actor);
  await untilPhase(one, "done");
  await expect.poll(() => [two.sealed, two.isServing], SOON).toEqual([true, false]);
  expect(two.storeStatus().movedTo).toBe(storeName(OTHER));
  expect(errors).toContainEqual({
    message: "The vault left this store while this rks was not heard; it is sealed",
    fields: {
      code: "STORAGE_MOVED",
      reason: expect.stringContaining(storeName(OTHER)) as unknown,
      remedy: expect.stringContaining("then start rks") as unknown,
    },
  });
  // Not even for a moment.
  await expect(two.vault.unseal(Buffer.from(share, "base64").toString("hex"))).rejects.toMatchObject({
    code: "STORAGE_MOVED",
  });
  expect([one.sealed, one.isServing]).toEqual([false, true]);
});

test("two that advertise the same name are two: neither moves the store away from the other", async () => {
  const [one, two] = await pair();
  expect(two.agentAddress()).toBe(one.agentAddress());
  for (const mover of [one, two]) {
    await expect(mover.migrateStore(OTHER, actor)).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("rks.example") as unknown,
    });
  }
  expect([one.sealed, two.sealed]).toEqual([false, false]);
});
