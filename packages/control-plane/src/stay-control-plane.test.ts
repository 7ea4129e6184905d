import { mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import { type Clock, RksError, Secret, silentLogger } from "@rk8s/protocol";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { memoryStorage, pagesOf, type Storage } from "@rk8s/storage";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { afterEach, beforeEach, expect, test } from "vitest";
import { keySourceOf, openVaultKeys } from "./backup/open-vault-keys.js";
import type { ControlPlaneConfig } from "./config/config.js";
import { parseConfig } from "./config/parse-config.js";
import { type ControlPlane, createControlPlane } from "./control-plane.js";
import { initializeControlPlane } from "./initialize-control-plane.js";
import { vaultFolderAt } from "./lifecycle/vault-folder.js";
import { vaultIdOf } from "./lifecycle/vault-id.js";
import { clusterCaOf } from "./lifecycle/cluster-vault.js";
import { stayControlPlane } from "./stay-control-plane.js";
import { NO_MEMBERS, type StoreOpeners } from "./store/choose-store.js";
import { readHome, writeHome } from "./store/home-file.js";
import { type StorePlace, type StoreState, stateWrite } from "./store/store-state.js";
import { Membership } from "./vault/members/membership.js";

const SINCE = "2030-01-01T00:00:00.000Z";
const TARGET = 'https://other:2379 under "/rk8s"';
const actor = { actor: "test" };
const put = (key: string, value: Uint8Array) => ({ type: "put", key, value }) as const;

let folder: string;
let config: ControlPlaneConfig;
let shares: readonly Secret<string>[];
let vault: string;
let openToken: string;
let other: Storage | undefined;
let stores: StoreOpeners;
let waits: number;
/** Waiting for the silent is quick. */
const clock: Clock = {
  ...systemClock,
  sleep: (ms, options) => {
    if (ms !== 9_000) return systemClock.sleep(ms, options);
    waits += 1;
    return systemClock.sleep(20, options);
  },
};

beforeEach(async () => {
  waits = 0;
  folder = await mkdtemp(join(tmpdir(), "rks-stay-"));
  const yaml = 'addr: "127.0.0.1:0"\nhttp_addr: ""\n';
  ({ config } = parseConfig(yaml, join(folder, "config.yaml")));
  await initializeControlPlane(config);
  const text = await readFile(join(config.vaultFolder, "keys.json"), "utf8");
  shares = (JSON.parse(text) as { keys: string[] }).keys.map((key) => new Secret(key));
  other = undefined;
  stores = {
    openFolder: (path) => openLmdbStorage({ folder: path }),
    openExternal: () =>
      other === undefined
        ? Promise.reject(new RksError("UNREACHABLE", "nobody answers at https://other:2379"))
        : Promise.resolve(other),
    useCredentials: () => Promise.resolve(),
    tryCredentials: () => Promise.resolve(NO_MEMBERS),
    membersOf: () => [],
  };
  await using controlPlane = await open();
  vault = vaultIdOf(clusterCaOf(controlPlane.vault));
  openToken = (await controlPlane.cluster().joinTokens.create({}, actor)).id;
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const open = (): Promise<ControlPlane> =>
  createControlPlane(config, { transport: createMemoryTransport(), stores });
const stay = (isOtherLost: boolean, given = shares): ReturnType<typeof stayControlPlane> =>
  stayControlPlane(config, { shares: given, isOtherLost, adoptNodes: false }, { stores, clock });

/** A store of this vault says what it is. */
async function say(storage: Storage, state: Partial<StoreState>): Promise<void> {
  const local = await openLmdbStorage({ folder: vaultFolderAt(config.vaultFolder).store });
  const keys = await openVaultKeys(local, shares);
  await local[Symbol.asyncDispose]();
  const whole = { version: 1, vault, epoch: 0, at: SINCE, migration: "m1", ...state } as StoreState;
  await storage.transaction([], [stateWrite(whole, keySourceOf(keys))]);
}

/** The vault folder's store says that it is being left at this moment; the process was killed. */
async function cutOff(): Promise<void> {
  const scratch = memoryStorage();
  const place: StorePlace = { type: "etcd", endpoints: ["https://other:2379"], prefix: "/rk8s" };
  await say(scratch, { state: "switching", to: TARGET, place, entries: 1, digest: "00" });
  const state = await scratch.get("storage/state");
  await using local = await openLmdbStorage({ folder: vaultFolderAt(config.vaultFolder).store });
  await local.transaction([], [put("storage/state", state!.value)]);
}

test("while the other store is not said to be lost, nothing is given up", async () => {
  await cutOff();
  await expect(open()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await expect(stay(false)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await expect(open()).rejects.toMatchObject({ code: "UNAVAILABLE" });
});

test("a lost one is given up: a new epoch, open tokens void, an audit record; done again it is yet another epoch", async () => {
  await cutOff();
  const stayed = await stay(true);
  expect(stayed).toEqual({
    store: "the vault folder",
    gaveUp: { store: TARGET, since: SINCE, epoch: 1 },
  });
  {
    await using controlPlane = await open();
    expect(controlPlane.storeStatus()).toMatchObject({ epoch: 1, restoredFrom: SINCE, gaveUp: TARGET });
    const tokens = await controlPlane.cluster().joinTokens.list();
    expect(tokens).toMatchObject([{ id: openToken, status: "revoked" }]);
    const audit = await readFile(join(config.vaultFolder, "audit.log"), "utf8");
    expect(audit).toContain('"operation":"storage.stay"');
  }
  await cutOff();
  await expect(open()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect((await stay(true)).gaveUp?.epoch).toBe(2);
});

test("killed before the host knew of it, the next call makes up for that and says the same", async () => {
  await cutOff();
  const stayed = await stay(true);
  const { home } = vaultFolderAt(config.vaultFolder);
  await rm(home);
  await expect(stay(false, [])).rejects.toMatchObject({ code: "UNSEAL_KEY_INVALID" });
  expect(await readHome(home)).toBeUndefined();
  expect(await stay(false)).toEqual(stayed);
  expect(await readHome(home)).toMatchObject({ vault, epoch: 1 });
  await (await open())[Symbol.asyncDispose]();
  expect(await stay(false)).toEqual({ store: "the vault folder", gaveUp: null });
});

test("an earlier call's answer is that of the store that was kept, whatever the config names by now", async () => {
  await cutOff();
  const stayed = await stay(true);
  const { home } = vaultFolderAt(config.vaultFolder);
  await rm(home);
  config = { ...config, store: { type: "etcd", endpoints: ["https://other:2379"], prefix: "/rk8s" } };
  expect(await stay(false)).toEqual(stayed);
  expect(await readHome(home)).toMatchObject({ type: "local", epoch: 1 });
});

test("what an earlier call has done does not take back a later epoch that this host has seen", async () => {
  await cutOff();
  await stay(true);
  const { home } = vaultFolderAt(config.vaultFolder);
  await writeHome(home, { ...(await readHome(home))!, epoch: 2 });
  expect(await stay(false)).toEqual({ store: "the vault folder", gaveUp: null });
  expect(await readHome(home)).toMatchObject({ epoch: 2 });
  await expect(open()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("the host remembers from then on that the other store was given up: where that turns up again it is not served", async () => {
  await cutOff();
  await stay(true);
  const local = vaultFolderAt(config.vaultFolder).store;
  other = memoryStorage();
  {
    // As it was before: the same vault, and it says that it is.
    await using kept = await openLmdbStorage({ folder: local });
    for await (const entries of pagesOf(kept, "")) {
      await other.transaction(
        [],
        entries.map(({ key, value }) => put(key, value)),
      );
    }
  }
  await say(other, { state: "active", from: "the vault folder" });
  await rename(local, join(folder, "away"));
  config = { ...config, store: { type: "etcd", endpoints: ["https://other:2379"], prefix: "/rk8s" } };
  await expect(open()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("where the other store answers, that decides, whatever is said of it", async () => {
  await cutOff();
  other = memoryStorage();
  await say(other, { state: "active" });
  await expect(stay(true)).rejects.toMatchObject({ code: "STORAGE_MOVED" });
  other = memoryStorage();
  await say(other, { state: "copying", from: "the vault folder" });
  expect(await stay(true)).toEqual({ store: "the vault folder", gaveUp: null });
  other = memoryStorage();
  await say(other, { state: "copying", from: "the vault folder" });
  await using controlPlane = await open();
  expect(controlPlane.storeStatus().epoch).toBe(0);
  expect((await controlPlane.cluster().joinTokens.list())[0]?.status).toBe("usable");
});

test("other unseal keys, and a state that somebody else wrote, give nothing up", async () => {
  await cutOff();
  const wrong = shares.map(() => new Secret(Buffer.alloc(33, 7).toString("base64")));
  await expect(stay(true, wrong)).rejects.toMatchObject({ code: "UNSEAL_KEY_INVALID" });
  const path = vaultFolderAt(config.vaultFolder).store;
  {
    await using local = await openLmdbStorage({ folder: path });
    const state = await local.get("storage/state");
    const text = Buffer.from(state!.value).toString().replace(SINCE, "2031-01-01T00:00:00.000Z");
    await local.transaction([], [put("storage/state", Buffer.from(text))]);
  }
  await expect(stay(true)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("it is refused while an rks runs on the folder, or another one has the store open", async () => {
  {
    await using running = await open();
    expect(running.sealed).toBe(false);
    await expect(stay(true)).rejects.toMatchObject({ code: "ALREADY_RUNNING" });
  }
  await cutOff();
  const local = await openLmdbStorage({ folder: vaultFolderAt(config.vaultFolder).store });
  const shared: Storage = { ...bound(local), [Symbol.asyncDispose]: () => Promise.resolve() };
  stores = { ...stores, openFolder: () => Promise.resolve(shared) };
  const alive = await Membership.join({ storage: local, clock, logger: silentLogger });
  await alive.announce("192.0.2.2:50051");
  const beat = setInterval(() => void local.transaction([], [put("core/members/1/beat", Buffer.of())]), 2);
  await expect(stay(true)).rejects.toMatchObject({
    code: "CONFLICT",
    message: expect.stringContaining("192.0.2.2:50051"),
  });
  clearInterval(beat);
  await local[Symbol.asyncDispose]();
});

test("whoever has not the unseal keys waits for nobody, and takes no number from anybody", async () => {
  await cutOff();
  const local = await openLmdbStorage({ folder: vaultFolderAt(config.vaultFolder).store });
  const shared: Storage = { ...bound(local), [Symbol.asyncDispose]: () => Promise.resolve() };
  stores = { ...stores, openFolder: () => Promise.resolve(shared) };
  const silent = await Membership.join({ storage: local, clock, logger: silentLogger });
  const wrong = shares.map(() => new Secret(Buffer.alloc(33, 7).toString("base64")));
  await expect(stay(true, wrong)).rejects.toMatchObject({ code: "UNSEAL_KEY_INVALID" });
  const { key, modRevision } = silent.writer.fence!;
  expect((await local.get(key))?.modRevision).toBe(modRevision);
  expect(waits).toBe(0);
  await silent[Symbol.asyncDispose]();
  expect((await stay(true)).gaveUp?.epoch).toBe(1);
  await local[Symbol.asyncDispose]();
});

function bound(storage: Storage): Storage {
  return {
    get: (key) => storage.get(key),
    list: (prefix, range) => storage.list(prefix, range),
    transaction: (comparisons, writes) => storage.transaction(comparisons, writes),
    watch: (...parameters) => storage.watch(...parameters),
    [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
  };
}
