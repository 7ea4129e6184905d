import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, RksError, silentLogger } from "@rk8s/protocol";
import { systemClock } from "@rk8s/host";
import {
  type Comparison,
  memoryStorage,
  type Storage,
  type TransactionResult,
  type Write,
} from "@rk8s/storage";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { StoreConfig } from "../config/config.js";
import { NO_MEMBERS } from "../store/choose-store.js";
import { readHome } from "../store/home-file.js";
import { storeName } from "../store/store-name.js";
import { stateWrite } from "../store/store-state.js";
import { Barrier } from "../vault/seal/barrier.js";
import { Keyring } from "../vault/seal/keyring.js";
import { type VaultFolder, vaultFolderAt } from "./vault-folder.js";
import { VaultStores } from "./vault-stores.js";

const ETCD: StoreConfig = { type: "etcd", endpoints: ["https://store-1:2379"], prefix: "/rk8s" };
const OTHER: StoreConfig = { type: "etcd", endpoints: ["https://other:2379"], prefix: "/rk8s" };
const LOCAL: StoreConfig = { type: "local" };
const put = (key: string, value: string): Write => ({ type: "put", key, value: Buffer.from(value) });

/** When a process dies: at its n-th transaction that writes, or writes what a store is, before it is done or after. */
interface Crash {
  readonly at: number;
  readonly isDone: boolean;
  readonly ofState?: boolean;
}

/** All stores that a process can reach; they outlive it. */
class World {
  readonly remote = new Map<string, Storage>();
  transactions = 0;
  crash: Crash | undefined;
  isDead = false;
  isRemoteDown = false;
  /** Waited for when a store in a folder is opened. */
  opening: Promise<void> = Promise.resolve();
  /** Stores that nobody reaches. */
  readonly down = new Set<StoreConfig>();

  start(crash?: Crash): void {
    this.transactions = 0;
    this.crash = crash;
    this.isDead = false;
  }

  wrap(inner: Storage, isRemote: boolean): Storage {
    const check = (): void => {
      if (this.isDead) throw new RksError("INTERNAL", "the process was killed");
      if (isRemote && this.isRemoteDown) throw new RksError("UNAVAILABLE", "no answer");
    };
    return {
      get: async (key) => (check(), inner.get(key)),
      list: async (prefix, range) => (check(), inner.list(prefix, range)),
      transaction: async (
        comparisons: readonly Comparison[],
        writes: readonly Write[],
      ): Promise<TransactionResult> => {
        check();
        const isCounted =
          this.crash?.ofState === true
            ? writes.some(({ key }) => key === "storage/state")
            : writes.length > 0;
        if (!isCounted) return inner.transaction(comparisons, writes);
        this.transactions += 1;
        if (this.transactions !== this.crash?.at) return inner.transaction(comparisons, writes);
        this.isDead = true;
        if (this.crash.isDone) await inner.transaction(comparisons, writes);
        throw new RksError("INTERNAL", "the process was killed");
      },
      watch: (...parameters) => inner.watch(...parameters),
      [Symbol.asyncDispose]: async () => (isRemote ? undefined : inner[Symbol.asyncDispose]()),
    };
  }
}

let folder: VaultFolder;
let world: World;
let keys: Uint8Array;
/** Pauses are short; what a switch may take, 2 s, is not. */
const clock: Clock = {
  ...systemClock,
  sleep: (ms, options) => systemClock.sleep(ms === 2_000 ? ms : Math.min(ms, 2), options),
};

beforeEach(async () => {
  folder = vaultFolderAt(await mkdtemp(join(tmpdir(), "rks-stores-")));
  world = new World();
  keys = Keyring.create(Date.now()).serialize();
  await using storage = await openLmdbStorage({ folder: folder.store });
  await storage.transaction([], [put("core/seal-config", "seal"), put("core/keyring", "keys")]);
  const barrier = Barrier.create(storage, Keyring.parse(keys));
  for (let at = 0; at < 3; at += 1) {
    await barrier.transaction(
      [],
      Array.from({ length: 100 }, (_, index) => put(`k/${at}/${index}`, "1")),
    );
  }
});

afterEach(async () => {
  await rm(folder.folder, { recursive: true, force: true });
});

/** A process that has opened the vault's store. */
interface Running extends AsyncDisposable {
  readonly stores: VaultStores;
  readonly barrier: Barrier;
}

async function start(wanted: StoreConfig, vault = "v1"): Promise<Running> {
  const stores = await VaultStores.open(wanted, folder, {
    clock,
    logger: silentLogger,
    openFolder: async (path) => {
      await world.opening;
      return world.wrap(await openLmdbStorage({ folder: path }), false);
    },
    openExternal: (store) => {
      if (world.isRemoteDown || [...world.down].some((down) => storeName(down) === storeName(store)))
        throw new RksError("UNAVAILABLE", "no answer");
      const name = storeName(store);
      const inner = world.remote.get(name) ?? memoryStorage();
      world.remote.set(name, inner);
      return Promise.resolve(world.wrap(inner, true));
    },
    useCredentials: () => Promise.resolve(),
    tryCredentials: () => Promise.resolve(NO_MEMBERS),
    membersOf: () => [],
  });
  try {
    const barrier = await Barrier.unseal(stores.storage, Keyring.parse(keys));
    await stores.begin({ id: vault, guard: barrier });
    await stores.moveAsConfigured({ id: vault, guard: barrier });
    return { stores, barrier, [Symbol.asyncDispose]: () => stores[Symbol.asyncDispose]() };
  } catch (reason) {
    await stores[Symbol.asyncDispose]();
    throw reason;
  }
}

/** Until the store is where it should be, or the process is dead. */
async function untilMoved({ stores }: Running, type: StoreConfig["type"], name?: string): Promise<void> {
  const isThere = (): boolean =>
    stores.type === type && stores.status.store === (name ?? stores.status.store);
  await expect
    .poll(() => world.isDead || (isThere() && stores.status.migration?.phase === "done"), { interval: 1 })
    .toBe(true);
}

const valueOf = async (barrier: Barrier, key: string): Promise<string | undefined> => {
  const entry = await barrier.get(key);
  return entry === undefined ? undefined : Buffer.from(entry.value).toString();
};

test("a config that names another store moves the vault there while it is used; the folder keeps a backup", async () => {
  await using running = await start(ETCD);
  await running.barrier.transaction([], [put("during", "1")]);
  await untilMoved(running, "etcd");
  expect(await valueOf(running.barrier, "during")).toBe("1");
  await running.barrier.transaction([], [put("after", "1")]);
  const names = await readdir(folder.folder);
  expect(names.filter((name) => name.startsWith("stor"))).toEqual([
    "storage.json",
    expect.stringMatching(/^store-backup-\d{8}T\d{6}Z$/),
  ]);
  expect(await readHome(folder.home)).toMatchObject({ vault: "v1", epoch: 0, type: "etcd" });
});

test("the next start finds the vault in the other store, and nothing is moved again", async () => {
  {
    await using first = await start(ETCD);
    await untilMoved(first, "etcd");
    await first.barrier.transaction([], [put("a", "1")]);
  }
  await using second = await start(ETCD);
  expect(second.stores.status).toMatchObject({ type: "etcd", migration: null });
  expect(await valueOf(second.barrier, "a")).toBe("1");
});

test("after the move the config of before is refused, and so is a store that is empty", async () => {
  {
    await using first = await start(ETCD);
    await untilMoved(first, "etcd");
  }
  await expect(start(LOCAL)).rejects.toMatchObject({ code: "STORAGE_MOVED" });
  await expect(start(OTHER)).rejects.toMatchObject({ code: "VAULT_NOT_INITIALIZED" });
});

test("a target that holds another cluster keeps the start from serving", async () => {
  {
    await using first = await start(ETCD, "v0");
    await untilMoved(first, "etcd");
  }
  await rm(folder.home);
  await using storage = await openLmdbStorage({ folder: folder.store });
  await storage.transaction([], [put("core/seal-config", "seal"), put("core/keyring", "keys")]);
  await Barrier.create(storage, Keyring.parse(keys)).transaction([], [put("x", "1")]);
  await storage[Symbol.asyncDispose]();
  await expect(start(ETCD)).rejects.toMatchObject({ code: "STORAGE_FOREIGN" });
});

test("a target that does not answer is waited for, while the vault serves from its folder", async () => {
  world.isRemoteDown = true;
  await using running = await start(ETCD);
  await expect.poll(() => running.stores.status.migration?.phase, { interval: 1 }).toBe("waiting");
  await running.barrier.transaction([], [put("meanwhile", "1")]);
  world.isRemoteDown = false;
  await untilMoved(running, "etcd");
  expect(await valueOf(running.barrier, "meanwhile")).toBe("1");
});

test("the vault comes back into its folder by hand, and goes to another store from there", async () => {
  await using running = await start(ETCD);
  await untilMoved(running, "etcd");
  const vault = { id: "v1", guard: running.barrier };
  await running.barrier.transaction([], [put("a", "etcd")]);
  await running.stores.migrate(LOCAL, vault);
  await untilMoved(running, "local");
  expect(await valueOf(running.barrier, "a")).toBe("etcd");
  await running.barrier.transaction([], [put("b", "local")]);
  await running.stores[Symbol.asyncDispose]();
  await using local = await start(LOCAL);
  expect(await valueOf(local.barrier, "b")).toBe("local");
  await local.stores.migrate(OTHER, { id: "v1", guard: local.barrier });
  await untilMoved(local, "etcd");
  expect(await valueOf(local.barrier, "b")).toBe("local");
});

test("a store that was put back to before a restore is not served", async () => {
  {
    await using first = await start(ETCD);
    await untilMoved(first, "etcd");
  }
  const home = await readHome(folder.home);
  const { writeHome } = await import("../store/home-file.js");
  await writeHome(folder.home, { ...home!, epoch: 1 });
  await expect(start(ETCD)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

/** Opening a store in a folder takes until the function is called. */
function holdOpening(): () => void {
  let go = (): void => undefined;
  world.opening = new Promise((resolve) => (go = resolve));
  return go;
}

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "done",
    (reason: unknown) => RksError.from(reason).code,
  );

test("of what must be done to a store alone one thing is done, from its first look on; the others are told", async () => {
  await using running = await start(ETCD);
  await untilMoved(running, "etcd");
  const vault = { id: "v1", guard: running.barrier };
  const go = holdOpening();
  const { signal } = new AbortController();
  const first = codeOf(running.stores.migrate(LOCAL, vault));
  expect(
    await Promise.all([
      codeOf(running.stores.migrate(LOCAL, vault)),
      codeOf(running.stores.migrate(OTHER, vault)),
      codeOf(running.stores.backup(join(folder.folder, "backup"), vault, signal)),
    ]),
  ).toEqual(["BUSY", "BUSY", "BUSY"]);
  go();
  expect(await first).toBe("done");
  await untilMoved(running, "local");
});

test("a vault that is sealed while it is looked whether it can be moved is not moved", async () => {
  await using running = await start(ETCD);
  await untilMoved(running, "etcd");
  const vault = { id: "v1", guard: running.barrier };
  const go = holdOpening();
  const moving = codeOf(running.stores.migrate(LOCAL, vault));
  const ending = running.stores.end();
  go();
  await ending;
  expect([await moving, running.stores.type]).toEqual(["UNAVAILABLE", "etcd"]);
});

test("sealing ends a backup, after which the vault can be moved", async () => {
  await using running = await start(LOCAL);
  const vault = { id: "v1", guard: running.barrier };
  const file = `${folder.folder}-backup`;
  const { signal } = new AbortController();
  const go = holdOpening();
  const backup = codeOf(running.stores.backup(file, vault, signal));
  const ending = running.stores.end();
  go();
  await ending;
  expect(await backup).toBe("UNAVAILABLE");
  expect(await codeOf(running.stores.backup(file, vault, signal))).toBe("UNAVAILABLE");
  await running.stores.begin(vault);
  await running.stores.migrate(ETCD, vault);
  await untilMoved(running, "etcd");
});

test("everything can be read and checked, and what was altered is named", async () => {
  await using running = await start(ETCD);
  await untilMoved(running, "etcd");
  const { signal } = new AbortController();
  const vault = { guard: running.barrier };
  expect(await running.stores.verify(vault, signal)).toMatchObject({ damaged: 0 });
  const remote = world.remote.get(storeName(ETCD))!;
  const swapped = await remote.get("barrier/k/0/1");
  await remote.transaction([], [{ type: "put", key: "barrier/k/0/2", value: swapped!.value }]);
  expect(await running.stores.verify(vault, signal)).toMatchObject({
    damaged: 1,
    damagedKeys: ["barrier/k/0/2"],
  });
});

test("a vault that came back goes out again when the config still says so", async () => {
  await using running = await start(ETCD);
  await untilMoved(running, "etcd");
  await running.stores.migrate(LOCAL, { id: "v1", guard: running.barrier });
  await untilMoved(running, "local");
  await running.barrier.transaction([], [put("a", "local")]);
  await running.stores[Symbol.asyncDispose]();
  await using again = await start(ETCD);
  await untilMoved(again, "etcd");
  expect(await valueOf(again.barrier, "a")).toBe("local");
});

/** Moves, writing all the time; gives what was confirmed. */
async function moveAndWrite(wanted: StoreConfig, by: (running: Running) => Promise<void>): Promise<string[]> {
  const confirmed: string[] = [];
  let running: Running;
  try {
    running = await start(wanted);
  } catch {
    return confirmed;
  }
  const write = async (): Promise<void> => {
    for (let count = 0; count < 200 && !world.isDead; count += 1) {
      const key = `w/${String(Math.random()).slice(2)}`;
      await running.barrier.transaction([], [put(key, "1")]);
      confirmed.push(key);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const writing = write().catch(() => undefined);
  await by(running).catch(() => undefined);
  await writing;
  await running.stores[Symbol.asyncDispose]().catch(() => undefined);
  return confirmed;
}

/** Of the keys, those that are not there as they were written. */
async function missing({ barrier }: Running, wanted: readonly string[]): Promise<readonly string[]> {
  const values = await Promise.all(wanted.map((key) => valueOf(barrier, key)));
  return wanted.filter((_, index) => values[index] !== "1");
}

const CRASHES = Array.from({ length: 14 }, (_, index) => ({ at: index * 3 + 1, isDone: index % 2 === 0 }));

test.each(CRASHES)(
  "killed at transaction $at ($isDone) on the way out, nothing confirmed is lost and the next start ends it",
  async (crash) => {
    world.start(crash);
    const confirmed = await moveAndWrite(ETCD, (running) => untilMoved(running, "etcd"));
    world.start();
    await using again = await start(ETCD);
    if (again.stores.type === "local") await untilMoved(again, "etcd");
    expect(await missing(again, confirmed)).toEqual([]);
    expect(await again.stores.verify({ guard: again.barrier }, new AbortController().signal)).toMatchObject({
      damaged: 0,
    });
    expect((await again.barrier.list("k/")).entries).toHaveLength(300);
  },
);

test.each(CRASHES)(
  "killed at transaction $at ($isDone) on the way back, the vault is in one place, whole, and found",
  async (crash) => {
    {
      await using first = await start(ETCD);
      await untilMoved(first, "etcd");
    }
    world.start(crash);
    const confirmed = await moveAndWrite(ETCD, async (running) => {
      await running.stores.migrate(LOCAL, { id: "v1", guard: running.barrier });
      await untilMoved(running, "local");
    });
    world.start();
    const local = await start(LOCAL).catch((reason: unknown) => {
      if (RksError.from(reason).code === "STORAGE_MOVED") return undefined;
      throw reason;
    });
    await using again = local ?? (await start(ETCD));
    expect(again.stores.type).toBe(local === undefined ? "etcd" : "local");
    expect(await missing(again, confirmed)).toEqual([]);
    expect((await again.barrier.list("k/")).entries).toHaveLength(300);
  },
);

/** A move by hand: from where, to where. */
const MOVES: readonly { readonly name: string; readonly from: StoreConfig; readonly to: StoreConfig }[] = [
  { name: "from one external store to another", from: ETCD, to: OTHER },
  { name: "from an external store into the folder", from: ETCD, to: LOCAL },
  { name: "from the folder to an external store", from: LOCAL, to: ETCD },
];
/** The states that a move writes: copying, leaving, switching, active, moved. */
const STATES = 5;
const STATE_CRASHES = MOVES.flatMap((move) =>
  Array.from({ length: 2 * STATES }, (_, index) => ({
    ...move,
    crash: { at: Math.floor(index / 2) + 1, isDone: index % 2 === 1, ofState: true },
  })),
);

async function moveByHand(from: StoreConfig, to: StoreConfig): Promise<string[]> {
  return moveAndWrite(from, async (running) => {
    await running.stores.migrate(to, { id: "v1", guard: running.barrier });
    await untilMoved(running, to.type, storeName(to));
  });
}

/** A start with the config that nobody has changed, or with the one that it asks for. */
async function startAnywhere(from: StoreConfig, to: StoreConfig): Promise<Running> {
  try {
    return await start(from);
  } catch (reason) {
    if (RksError.from(reason).code !== "STORAGE_MOVED") throw reason;
    return start(to);
  }
}

test.each(STATE_CRASHES)(
  "killed at state $crash.at ($crash.isDone) $name, the next start finds the vault; killed in that, the one after",
  async ({ from, to, crash }) => {
    if (from !== LOCAL) {
      await using first = await start(from);
      await untilMoved(first, from.type);
    }
    world.start(crash);
    const confirmed = await moveByHand(from, to);
    expect(world.isDead).toBe(true);
    for (const again of [1, 2].flatMap((at) => [false, true].map((isDone) => ({ at, isDone })))) {
      world.start({ ...again, ofState: true });
      const killed = await startAnywhere(from, to).catch(() => undefined);
      await killed?.stores[Symbol.asyncDispose]().catch(() => undefined);
    }
    world.start();
    await using found = await startAnywhere(from, to);
    expect(await missing(found, confirmed)).toEqual([]);
    expect((await found.barrier.list("k/")).entries).toHaveLength(300);
    await found.barrier.transaction([], [put("after", "1")]);
    await found.stores[Symbol.asyncDispose]();
    await using later = await startAnywhere(from, to);
    expect(await missing(later, ["after"])).toEqual([]);
  },
);

/** Killed before the transaction that decides: the one says `switching`, the other `copying`. */
async function cutOff(): Promise<void> {
  {
    await using first = await start(ETCD);
    await untilMoved(first, "etcd");
  }
  world.start({ at: 4, isDone: false, ofState: true });
  await moveByHand(ETCD, OTHER);
  world.start();
}

async function stateRecord(storage: Storage): Promise<{ readonly state: object; readonly mac: string }> {
  const entry = await storage.get("storage/state");
  return JSON.parse(Buffer.from(entry!.value).toString()) as Awaited<ReturnType<typeof stateRecord>>;
}

/** A vault that came back into its folder from a store that the config still names, and was killed on its way to another one. */
async function cutOffOnTheThirdWay(isDone: boolean): Promise<void> {
  {
    await using first = await start(ETCD);
    await untilMoved(first, "etcd");
    await first.stores.migrate(LOCAL, { id: "v1", guard: first.barrier });
    await untilMoved(first, "local");
    await first.barrier.transaction([], [put("a", "local")]);
    world.start({ at: 4, isDone, ofState: true });
    await first.stores.migrate(OTHER, { id: "v1", guard: first.barrier });
    await untilMoved(first, "etcd");
    await first.stores[Symbol.asyncDispose]().catch(() => undefined);
  }
  world.start();
}

test("a store that was the vault before a switch does not decide it: the vault stays in its folder", async () => {
  await cutOffOnTheThirdWay(false);
  world.down.add(OTHER);
  await expect(start(ETCD)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  world.down.clear();
  await using again = await start(ETCD);
  expect(await valueOf(again.barrier, "a")).toBe("local");
  await untilMoved(again, "etcd", storeName(ETCD));
  expect(await valueOf(again.barrier, "a")).toBe("local");
});

test("as long as the config names a store that is not the vault, the folder keeps what it has", async () => {
  await cutOffOnTheThirdWay(true);
  await expect(start(ETCD)).rejects.toMatchObject({ code: "STORAGE_MOVED" });
  await expect(start(LOCAL)).rejects.toMatchObject({
    code: "STORAGE_MOVED",
    message: expect.stringContaining(storeName(OTHER)),
  });
  expect(await readdir(folder.folder)).toContain("store");
  await using found = await start(OTHER);
  expect(await valueOf(found.barrier, "a")).toBe("local");
  expect(await readdir(folder.folder)).not.toContain("store");
});

test("an empty store, and one with another cluster, put nothing aside that the folder has", async () => {
  world.start({ at: 4, isDone: true, ofState: true });
  await moveByHand(LOCAL, ETCD);
  world.start();
  await expect(start(OTHER)).rejects.toMatchObject({ code: "VAULT_NOT_INITIALIZED" });
  expect(await readdir(folder.folder)).toContain("store");
  const stranger = memoryStorage();
  await stranger.transaction([], [put("core/seal-config", "seal"), put("core/keyring", "keys")]);
  await Barrier.create(stranger, Keyring.parse(keys)).transaction([], [put("x", "1")]);
  world.remote.set(storeName(OTHER), stranger);
  await expect(start(OTHER)).rejects.toMatchObject({ code: "STORAGE_FOREIGN" });
  expect(await readdir(folder.folder)).toContain("store");
});

test("a start that cannot ask the store that knows says so, and serves neither; once that answers it goes on by itself", async () => {
  await cutOff();
  world.down.add(OTHER);
  await expect(start(ETCD)).rejects.toMatchObject({
    code: "UNAVAILABLE",
    suggestion: expect.stringContaining("rks storage stay"),
  });
  await expect(start(OTHER)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  world.down.clear();
  await using found = await start(ETCD);
  expect(found.stores.status.store).toBe(storeName(ETCD));
});

test("a target that was filled by a later migration, or emptied, does not decide that the vault stayed", async () => {
  await cutOff();
  const other = world.remote.get(storeName(OTHER))!;
  const record = await stateRecord(other);
  const later = { ...record, state: { ...record.state, migration: "a later one" } };
  await other.transaction([], [put("storage/state", JSON.stringify(later))]);
  await expect(start(ETCD)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await other.transaction([], [{ type: "delete", key: "storage/state" }]);
  await expect(start(ETCD)).rejects.toMatchObject({ code: "UNAVAILABLE" });
});

test("an answer of the other store that this vault has not written is not believed", async () => {
  await cutOff();
  const other = world.remote.get(storeName(OTHER))!;
  const record = await stateRecord(other);
  await other.transaction([], [put("storage/state", JSON.stringify({ ...record, mac: "00".repeat(32) }))]);
  await expect(start(ETCD)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test.each(["copying", "restoring"] as const)(
  "a store that another process fills anew since it was chosen is not served (%s)",
  async (state) => {
    {
      await using first = await start(ETCD);
      await untilMoved(first, "etcd");
    }
    await using running = await start(ETCD);
    expect(await running.stores.whyLeft()).toBeUndefined();
    const about = { version: 1, vault: "v1", epoch: 0, at: new Date(0).toISOString() } as const;
    const write = stateWrite(
      state === "copying"
        ? { ...about, state, migration: "another one", from: "elsewhere" }
        : { ...about, state, restoredFrom: about.at },
      running.barrier,
    );
    await world.remote.get(storeName(ETCD))!.transaction([], [write]);
    expect(await running.stores.whyLeft()).toMatchObject({ code: "UNAVAILABLE" });
    await expect(running.stores.begin({ id: "v1", guard: running.barrier })).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  },
);

test("a store that another process has left since it was chosen is not served", async () => {
  {
    await using first = await start(ETCD);
    await untilMoved(first, "etcd");
  }
  await using running = await start(ETCD);
  const second = vaultFolderAt(await mkdtemp(join(tmpdir(), "rks-stores-")));
  const late = await VaultStores.open(ETCD, second, {
    clock,
    logger: silentLogger,
    openFolder: async (path) => openLmdbStorage({ folder: path }),
    openExternal: (store) => Promise.resolve(world.wrap(world.remote.get(storeName(store))!, true)),
    useCredentials: () => Promise.resolve(),
    tryCredentials: () => Promise.resolve(NO_MEMBERS),
    membersOf: () => [],
  });
  await running.stores.migrate(OTHER, { id: "v1", guard: running.barrier });
  await untilMoved(running, "etcd", storeName(OTHER));
  const barrier = await Barrier.unseal(late.storage, Keyring.parse(keys));
  await expect(late.begin({ id: "v1", guard: barrier })).rejects.toMatchObject({ code: "STORAGE_MOVED" });
  await late[Symbol.asyncDispose]();
  await rm(second.folder, { recursive: true, force: true });
});
