import { mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import { type Clock, RksError, Secret, type Transport } from "@rk8s/protocol";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage, type Write } from "@rk8s/storage";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Verification, verifyFiles } from "./audit/verify-files.js";
import type { ControlPlaneConfig, StoreConfig } from "./config/config.js";
import { parseConfig } from "./config/parse-config.js";
import { type ControlPlane, createControlPlane } from "./control-plane.js";
import { initializeControlPlane } from "./initialize-control-plane.js";
import { vaultFolderAt } from "./lifecycle/vault-folder.js";
import { restoreControlPlane } from "./restore-control-plane.js";
import { NO_MEMBERS, type StoreOpeners } from "./store/choose-store.js";
import { readHome } from "./store/home-file.js";
import { storeName } from "./store/store-name.js";

const ETCD: StoreConfig = { type: "etcd", endpoints: ["http://127.0.0.1:2379"], prefix: "/rk8s" };
const OTHER: StoreConfig = { type: "etcd", endpoints: ["http://127.0.0.1:2479"], prefix: "/rk8s" };
const actor = { actor: "test" };
const SOON = { timeout: 5_000, interval: 5 };
/** Tries again at once. */
const clock: Clock = {
  ...systemClock,
  sleep: (ms, options) => systemClock.sleep(ms === 250 || ms === 1_000 ? 5 : ms, options),
};

/** A store outside of the vault folder, of which a test says how it behaves. */
class Remote {
  readonly inner = memoryStorage();
  isDown = false;
  isClosed = false;
  /** Called before a transaction; what it resolves to is done after it. */
  before: (writes: readonly Write[]) => Promise<(() => void) | void> = () => Promise.resolve();

  open(): Storage {
    this.isClosed = false;
    const check = (): void => {
      if (this.isDown) throw new RksError("UNAVAILABLE", "no answer");
    };
    return {
      get: async (key) => (check(), this.inner.get(key)),
      list: async (prefix, range) => (check(), this.inner.list(prefix, range)),
      transaction: async (comparisons, writes) => {
        check();
        const after = await this.before(writes);
        const result = await this.inner.transaction(comparisons, writes);
        after?.();
        return result;
      },
      watch: (...parameters) => this.inner.watch(...parameters),
      [Symbol.asyncDispose]: () => {
        this.isClosed = true;
        return Promise.resolve();
      },
    };
  }
}

let folder: string;
let config: ControlPlaneConfig;
let share: string;
let remotes: Map<string, Remote>;
let stores: StoreOpeners;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-moves-"));
  const yaml = 'addr: "127.0.0.1:0"\nhttp_addr: ""\n';
  ({ config } = parseConfig(yaml, join(folder, "config.yaml")));
  await initializeControlPlane(config);
  const text = await readFile(join(config.vaultFolder, "keys.json"), "utf8");
  share = (JSON.parse(text) as { readonly keys: readonly string[] }).keys[0]!;
  remotes = new Map([ETCD, OTHER].map((at) => [storeName(at), new Remote()]));
  stores = {
    openFolder: (path) => openLmdbStorage({ folder: path }),
    openExternal: (at) => Promise.resolve(remotes.get(storeName(at))!.open()),
    useCredentials: () => Promise.resolve(),
    tryCredentials: () => Promise.resolve(NO_MEMBERS),
    membersOf: () => [],
  };
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const open = (transport: Transport = createMemoryTransport()): Promise<ControlPlane> =>
  createControlPlane(config, { transport, stores, clock });
const remoteAt = (at: StoreConfig): Remote => remotes.get(storeName(at))!;
const makesVault = (writes: readonly Write[]): boolean =>
  writes.some(
    (write) =>
      write.type === "put" &&
      write.key === "storage/state" &&
      Buffer.from(write.value).toString().includes('"state":"active"'),
  );
const untilPhase = (controlPlane: ControlPlane, phase: string): Promise<void> =>
  expect.poll(() => controlPlane.storeStatus().migration?.phase, SOON).toBe(phase);
async function move(controlPlane: ControlPlane, to: StoreConfig): Promise<void> {
  await controlPlane.migrateStore(to, actor);
  await untilPhase(controlPlane, "done");
}
const untilMember = (controlPlane: ControlPlane): Promise<void> =>
  expect.poll(() => controlPlane.vault.sharing.members.isShared, SOON).toBe(true);

/** The store answers no more from the moment on in which it became the vault. */
function dieInTheMoment(remote: Remote): void {
  remote.before = (writes) => {
    if (!makesVault(writes)) return Promise.resolve();
    remote.before = () => Promise.resolve();
    return Promise.resolve(() => {
      remote.isDown = true;
      throw new RksError("CONNECTION_LOST", "no answer");
    });
  };
}

test.each([
  { name: "the vault folder", from: undefined },
  { name: "another store that is shared", from: ETCD },
])(
  "sealed while it is not known whether it left $name, the vault is unsealed once the other store answers",
  async ({ from }) => {
    await using controlPlane = await open();
    if (from !== undefined) {
      await move(controlPlane, from);
      await untilMember(controlPlane);
    }
    const remote = remoteAt(OTHER);
    dieInTheMoment(remote);
    await controlPlane.migrateStore(OTHER, actor);
    await untilPhase(controlPlane, "in doubt");
    await controlPlane.vault.seal();
    remote.isDown = false;
    expect(await controlPlane.vault.unseal(share)).toMatchObject({ sealed: false });
    expect(controlPlane.storeStatus().store).toBe(storeName(OTHER));
    await untilMember(controlPlane);
    await controlPlane.cluster().joinTokens.create({}, actor);
  },
);

test("a vault that turns out to have stayed in a store that is shared is a member there again", async () => {
  await using controlPlane = await open();
  await move(controlPlane, ETCD);
  const remote = remoteAt(OTHER);
  remote.before = (writes) => {
    if (!makesVault(writes)) return Promise.resolve();
    remote.isDown = true;
    return Promise.reject(new RksError("CONNECTION_LOST", "no answer"));
  };
  await controlPlane.migrateStore(OTHER, actor);
  await untilPhase(controlPlane, "in doubt");
  await controlPlane.vault.seal();
  remote.isDown = false;
  await controlPlane.vault.unseal(share);
  expect(controlPlane.storeStatus().store).toBe(storeName(ETCD));
  await untilMember(controlPlane);
});

test("a mark that an attempt could not take back is known as this process's own, whatever it has tried since", async () => {
  await using controlPlane = await open();
  await move(controlPlane, ETCD);
  await untilMember(controlPlane);
  const [source, target] = [remoteAt(ETCD), remoteAt(OTHER)];
  let refused = 0;
  target.before = (writes) => {
    if (!makesVault(writes)) return Promise.resolve();
    source.before = (marks) => {
      if (!marks.some((write) => write.type === "put" && write.key === "storage/state"))
        return Promise.resolve();
      refused += 1;
      return Promise.reject(new RksError("UNAVAILABLE", "no leader"));
    };
    return Promise.reject(new RksError("CONNECTION_LOST", "no answer"));
  };
  await controlPlane.migrateStore(OTHER, actor);
  // Once by the attempt that failed, once by the next one.
  await expect.poll(() => refused, SOON).toBeGreaterThan(1);
  await controlPlane.vault.seal();
  source.before = () => Promise.resolve();
  expect(await controlPlane.vault.unseal(share)).toMatchObject({ sealed: false });
  expect(controlPlane.storeStatus().store).toBe(storeName(ETCD));
});

test("sealed in the moment of the switch, the vault is sealed, and opens in the store that it went to", async () => {
  await using controlPlane = await open();
  const remote = remoteAt(ETCD);
  let go: (() => void) | undefined;
  remote.before = (writes) =>
    makesVault(writes) ? new Promise((resolve) => (go = () => resolve())) : Promise.resolve();
  await controlPlane.migrateStore(ETCD, actor);
  await expect.poll(() => go, SOON).toBeDefined();
  const sealing = controlPlane.vault.seal();
  go?.();
  await sealing;
  expect(controlPlane.sealed).toBe(true);
  expect(await controlPlane.vault.unseal(share)).toMatchObject({ sealed: false });
  expect(controlPlane.storeStatus().store).toBe(storeName(ETCD));
  await untilMember(controlPlane);
});

test("a store that cannot be shared at first is shared later; what was left is put aside at once", async () => {
  await using controlPlane = await open();
  const remote = remoteAt(ETCD);
  let refused = 0;
  remote.before = (writes) => {
    if (!writes.some(({ key }) => /^core\/members\/\d+$/.test(key)) || makesVault(writes) || refused === 3)
      return Promise.resolve();
    refused += 1;
    return Promise.reject(new RksError("UNAVAILABLE", "no leader"));
  };
  await move(controlPlane, ETCD);
  const { home } = vaultFolderAt(config.vaultFolder);
  expect(await readHome(home)).toMatchObject({ type: "etcd" });
  expect(await readdir(config.vaultFolder)).not.toContain("store");
  await untilMember(controlPlane);
  expect(refused).toBe(3);
  expect(controlPlane.vault.sharing.members.addresses()).toHaveLength(1);
});

test("the store that was left is closed when the folder cannot be told of it", async () => {
  await using controlPlane = await open();
  await move(controlPlane, ETCD);
  const { home } = vaultFolderAt(config.vaultFolder);
  await rm(home, { force: true });
  // Nothing is renamed over a folder that is not empty.
  await mkdir(join(home, "in-the-way"), { recursive: true });
  await move(controlPlane, OTHER);
  expect(remoteAt(ETCD).isClosed).toBe(true);
});

test("the audit log is one chain over stores that others have too and back, and over files that were moved away", async () => {
  const { audit } = vaultFolderAt(config.vaultFolder);
  const files: string[] = [];
  /** A life of rks with the store `from`, which goes to `to` meanwhile. */
  const live = async (from: StoreConfig, to?: StoreConfig): Promise<Verification> => {
    config = { ...config, store: from };
    await using controlPlane = await open();
    const write = (): Promise<unknown> => controlPlane.cluster().joinTokens.create({}, actor);
    await write();
    if (to !== undefined) await move(controlPlane, to);
    await write();
    const old = `${audit}.${files.length}`;
    await rename(audit, old);
    files.unshift(old);
    await controlPlane.reload();
    await write();
    return await verifyFiles([audit, ...files], controlPlane.auditHead());
  };
  const LOCAL: StoreConfig = { type: "local" };
  expect(await live(LOCAL, ETCD)).toMatchObject({ isGood: true, isConfirmed: true });
  expect(await live(ETCD)).toMatchObject({ isGood: true, isConfirmed: true });
  expect(await live(ETCD, LOCAL)).toMatchObject({ isGood: true, isConfirmed: true });
  expect(await live(LOCAL)).toMatchObject({ isGood: true, isConfirmed: true, problemCount: 0 });
  for (const file of [audit, ...files]) expect(await readFile(file, "utf8")).not.toContain("audit.broken");
});

/** Of what listens: how to break it, and whether it was closed. */
interface Listening {
  readonly transport: Transport;
  break: (reason: Error) => void;
  isClosed: boolean;
}

function aListening(): Listening {
  const inner = createMemoryTransport();
  const listening: Listening = {
    transport: {
      dial: (options) => inner.dial(options),
      probe: (options) => inner.probe(options),
      listen: async (options) => {
        const listener = await inner.listen(options);
        let end = (): void => undefined;
        const over = new Promise<IteratorReturnResult<undefined>>((resolve, reject) => {
          listening.break = reject;
          end = () => resolve({ done: true, value: undefined });
        });
        return {
          address: listener.address,
          updateConfig: (given) => listener.updateConfig(given),
          connections: () => ({ [Symbol.asyncIterator]: () => ({ next: () => over }) }),
          close: async (given) => {
            listening.isClosed = true;
            end();
            await listener.close(given);
          },
          [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
        };
      },
    },
    break: () => undefined,
    isClosed: false,
  };
  return listening;
}

test("what breaks while it is looked whether the vault can be moved ends the control plane with the reason", async () => {
  const { signal } = new AbortController();
  const listening = aListening();
  const openExternal = stores.openExternal.bind(stores);
  let isFirst = true;
  stores = {
    ...stores,
    openExternal: async (at) => {
      if (isFirst) listening.break(new RksError("INTERNAL", "the socket is gone"));
      isFirst = false;
      // Whoever rejects and is not listened to by then is told of as unhandled.
      await new Promise((resolve) => setImmediate(resolve));
      return openExternal(at);
    },
  };
  config = { ...config, store: ETCD };
  await using controlPlane = await open(listening.transport);
  await expect(controlPlane.run(signal)).rejects.toMatchObject({ message: "the socket is gone" });
});

test("a start that cannot tell the others where it serves listens no more", async () => {
  {
    await using controlPlane = await open();
    await move(controlPlane, ETCD);
    await untilMember(controlPlane);
  }
  config = { ...config, store: ETCD };
  remoteAt(ETCD).before = (writes) =>
    writes.some(({ key }) => key.endsWith("/address"))
      ? Promise.reject(new RksError("UNAVAILABLE", "no leader"))
      : Promise.resolve();
  const listening = aListening();
  await expect(open(listening.transport)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(listening.isClosed).toBe(true);
});

test("what is said of the store says from the start on what the store says, sealed or not, and nothing of a restore once it was moved", async () => {
  await using controlPlane = await open();
  const file = join(folder, "backup");
  await controlPlane.backupStore(file, { ...actor, signal: new AbortController().signal });
  await controlPlane[Symbol.asyncDispose]();
  await rm(vaultFolderAt(config.vaultFolder).store, { recursive: true });
  const shares = [new Secret(share)];
  const { createdAt: restoredFrom } = await restoreControlPlane(
    config,
    { file, shares, adoptNodes: false },
    { stores },
  );
  await rename(join(config.vaultFolder, "keys.json"), join(folder, "keys.json"));
  await using sealed = await open();
  expect(sealed.sealed).toBe(true);
  expect(sealed.storeStatus()).toMatchObject({ epoch: 1, restoredFrom });
  await sealed.vault.unseal(share);
  expect(sealed.storeStatus()).toMatchObject({ epoch: 1, restoredFrom });
  await move(sealed, ETCD);
  expect(sealed.storeStatus()).toMatchObject({ epoch: 1, restoredFrom: null });
});
