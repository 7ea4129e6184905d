import { randomUUID } from "node:crypto";
import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import {
  type Comparison,
  memoryStorage,
  pagesOf,
  type Storage,
  type TransactionResult,
  type Write,
} from "@rk8s/storage";
import { expect, test } from "vitest";
import { readState, type StoreState, stateWrite } from "../store/store-state.js";
import { Membership } from "../vault/members/membership.js";
import { UNSHARED } from "../vault/members/sharing.js";
import { Barrier } from "../vault/seal/barrier.js";
import { Keyring } from "../vault/seal/keyring.js";
import { claimTarget } from "./claim.js";
import { Migration } from "./migration.js";
import { SwitchableStorage } from "./switchable-storage.js";

const never = new AbortController().signal;
const put = (key: string, value: string): Write => ({ type: "put", key, value: Buffer.from(value) });

type Fate = "lose answer" | "refuse" | "done";

/** A store whose transactions can be made to fail, before or after they were done, and that others can watch. */
class TestStore implements Storage {
  readonly inner = memoryStorage();
  onTransaction: ((writes: readonly Write[]) => Fate | Promise<Fate>) | undefined;

  get(key: string): ReturnType<Storage["get"]> {
    return this.inner.get(key);
  }

  list(...parameters: Parameters<Storage["list"]>): ReturnType<Storage["list"]> {
    return this.inner.list(...parameters);
  }

  async transaction(
    comparisons: readonly Comparison[],
    writes: readonly Write[],
  ): Promise<TransactionResult> {
    const what = await (this.onTransaction?.(writes) ?? "done");
    if (what === "refuse") throw new Error("the connection broke before");
    const result = await this.inner.transaction(comparisons, writes);
    if (what === "lose answer") throw new Error("the connection broke after");
    return result;
  }

  watch(...parameters: Parameters<Storage["watch"]>): ReturnType<Storage["watch"]> {
    return this.inner.watch(...parameters);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}

interface Rig {
  readonly source: TestStore;
  readonly target: TestStore;
  readonly storage: SwitchableStorage;
  readonly barrier: Barrier;
  readonly keyring: () => Keyring;
  readonly clock: FakeClock;
  migration(id?: string, target?: Storage): Migration;
}

/** A vault's barrier over a store with `entries` entries, and an empty target. */
async function aRig(entries: number, target = new TestStore()): Promise<Rig> {
  const clock = new FakeClock();
  const source = new TestStore();
  const storage = new SwitchableStorage(source);
  const keys = Keyring.create(clock.now()).serialize();
  const keyring = (): Keyring => Keyring.parse(keys);
  await source.transaction(
    [],
    [put("core/seal-config", `seal ${randomUUID()}`), put("core/keyring", "keys")],
  );
  const barrier = Barrier.create(storage, keyring());
  for (let at = 0; at < entries; at += 100) {
    const count = Math.min(100, entries - at);
    await barrier.transaction(
      [],
      Array.from({ length: count }, (_, index) =>
        put(`k/${String(at + index).padStart(6, "0")}`, `v${at + index}`),
      ),
    );
  }
  return {
    source,
    target,
    storage,
    barrier,
    keyring,
    clock,
    migration: (id = "m1", to = target) =>
      new Migration(
        { storage, target: to, from: "here", to: "there", vault: { id: "v1", guard: barrier }, id },
        { clock, logger: silentLogger },
      ),
  };
}

async function contents(storage: Storage): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for await (const entries of pagesOf(storage, "")) {
    for (const { key, value } of entries) all.set(key, Buffer.from(value).toString("hex"));
  }
  return all;
}

/** What is in a store but for its own state. */
async function copied(storage: Storage): Promise<Map<string, string>> {
  const all = await contents(storage);
  all.delete("storage/state");
  return all;
}

const stateOf = async (storage: Storage): Promise<StoreState | undefined> =>
  (await readState(storage))?.state;

test.each([0, 1, 127, 128, 129, 1000])(
  "%i entries are copied byte for byte and read through the same barrier",
  async (count) => {
    const { source, target, storage, barrier, migration } = await aRig(count);
    await barrier.transaction([], [put("first", "1")]);
    const outcome = await migration().run(never);
    expect(await copied(target)).toEqual(await copied(source));
    expect(outcome.entries).toBe(count + 1);
    expect(storage.current).toBe(target);
    expect(Buffer.from((await barrier.get("first"))?.value ?? []).toString()).toBe("1");
    await barrier.transaction([], [put("first", "2")]);
    expect(Buffer.from((await barrier.get("first"))?.value ?? []).toString()).toBe("2");
    await outcome.left;
    expect(await stateOf(source)).toMatchObject({ state: "moved", migration: "m1", digest: outcome.digest });
    expect(await stateOf(target)).toMatchObject({ state: "active", migration: "m1", digest: outcome.digest });
  },
);

test("a barrier that is unsealed over the target afterwards trusts every entry", async () => {
  const { target, barrier, keyring, migration } = await aRig(300);
  await migration().run(never);
  await barrier.transaction([], [put("k/000007", "after"), put("new", "after")]);
  const again = await Barrier.unseal(target, keyring());
  const { entries } = await again.list("");
  expect(entries).toHaveLength(301);
  expect(again.sequence).toBe(barrier.sequence);
});

test("writes during the copy are all in the target, in their last form, and deleted keys are not", async () => {
  const { target, barrier, source, storage, migration } = await aRig(600);
  const expected = new Map(
    Array.from({ length: 600 }, (_, at) => [`k/${String(at).padStart(6, "0")}`, `v${at}`]),
  );
  const written: Promise<TransactionResult>[] = [];
  target.onTransaction = () => {
    // Each batch that is copied meets changes in front of it, in it and behind it.
    const count = written.length;
    if (count >= 60 || storage.current === target) return "done";
    const key = `k/${String((count * 97) % 600).padStart(6, "0")}`;
    const value = `changed ${count}`;
    const isDelete = count % 3 === 0;
    if (isDelete) expected.delete(key);
    else expected.set(key, value).set(`n/${count}`, "new");
    const writes: Write[] = isDelete
      ? [{ type: "delete", key }]
      : [put(key, value), put(`n/${count}`, "new")];
    written.push(barrier.transaction([], writes));
    return "done";
  };
  await migration().run(never);
  expect(written.length).toBeGreaterThan(5);
  await Promise.all(written);
  const { entries } = await barrier.list("");
  expect(new Map(entries.map(({ key, value }) => [key, Buffer.from(value).toString()]))).toEqual(expected);
  expect(await source.get("core/seal-config")).toBeDefined();
});

test("a transaction that waits for the switch is done in the target, and one that was begun before is a lost race", async () => {
  const { target, barrier, source, migration } = await aRig(10);
  const read = await barrier.get("k/000001");
  const waiting: Promise<TransactionResult>[] = [];
  target.onTransaction = (writes) => {
    if (writes.some(({ key }) => key === "core/seal-config") && waiting.length === 0) {
      waiting.push(barrier.transaction([], [put("late", "1")]));
      waiting.push(
        barrier.transaction(
          [{ key: "k/000001", modRevision: read?.modRevision ?? 0 }],
          [put("k/000001", "stale")],
        ),
      );
    }
    return "done";
  };
  await migration().run(never);
  const [late, stale] = await Promise.all(waiting);
  expect([late?.succeeded, stale?.succeeded]).toEqual([true, false]);
  expect(Buffer.from((await barrier.get("late"))?.value ?? []).toString()).toBe("1");
  expect(await source.get("barrier/late")).toBeUndefined();
});

test("a target with another cluster, with anything else, or with this one is refused and left as it is", async () => {
  const other = await aRig(3);
  await other.migration().run(never);
  const foreign: [string, TestStore][] = [["another cluster's", other.target]];
  const filled = new TestStore();
  await filled.transaction([], [put("something", "else")]);
  foreign.push(["filled", filled]);
  const { storage, migration, barrier } = await aRig(3);
  for (const [name, target] of foreign) {
    const before = await contents(target);
    await expect(migration("m2", target).run(never)).rejects.toMatchObject({ code: "STORAGE_FOREIGN" });
    expect([name, await contents(target)]).toEqual([name, before]);
  }
  const done = new TestStore();
  await migration("m3", done).run(never);
  const back = new TestStore();
  await migration("m4", back).run(never);
  await migration("m5", done).run(never);
  expect(storage.current).toBe(done);
  await expect(
    new Migration(
      {
        storage: new SwitchableStorage(back),
        target: done,
        from: "b",
        to: "d",
        vault: { id: "v1", guard: barrier },
        id: "m6",
      },
      { clock: new FakeClock(), logger: silentLogger },
    ).run(never),
  ).rejects.toMatchObject({ code: "STORAGE_FOREIGN" });
});

test("half a copy is finished by the next attempt, whatever has changed since", async () => {
  const { source, target, barrier, migration } = await aRig(1000);
  let batches = 0;
  target.onTransaction = () => (++batches === 5 ? "refuse" : "done");
  await expect(migration("m1").run(never)).rejects.toThrow("the connection broke before");
  target.onTransaction = undefined;
  expect(await target.get("core/seal-config")).toBeUndefined();
  expect((await stateOf(target))?.state).toBe("copying");
  await barrier.transaction([], [put("k/000000", "changed"), { type: "delete", key: "k/000001" }]);
  await migration("m2").run(never);
  expect(await copied(target)).toEqual(await copied(source));
});

test("the lost answer of the last transaction is found out: it was done", async () => {
  const { target, barrier, storage, migration } = await aRig(5);
  target.onTransaction = (writes) =>
    writes.some(({ key }) => key === "core/keyring") ? "lose answer" : "done";
  await migration().run(never);
  expect(storage.current).toBe(target);
  expect(await barrier.get("k/000003")).toBeDefined();
  await barrier.transaction([], [put("after", "1")]);
  expect(await target.get("barrier/after")).toBeDefined();
});

test("the lost answer of the last transaction is found out: it was not done, and cannot be any more", async () => {
  const { source, target, barrier, storage, migration } = await aRig(5);
  let late: (() => Promise<TransactionResult>) | undefined;
  const { inner } = target;
  const transaction = target.transaction.bind(target);
  target.transaction = async (comparisons, writes) => {
    if (late !== undefined || !writes.some(({ key }) => key === "core/keyring"))
      return transaction(comparisons, writes);
    late = () => inner.transaction(comparisons, writes);
    throw new Error("the connection broke before");
  };
  const moving = migration();
  await expect(moving.run(never)).rejects.toThrow("the connection broke before");
  expect(moving.phase).toBe("copying");
  expect(storage.current).toBe(source);
  await barrier.transaction([], [put("still", "here")]);
  expect((await late?.())?.succeeded).toBe(false);
  expect(await target.get("core/keyring")).toBeUndefined();
  expect((await stateOf(source))?.state).toBe("leaving");
});

test("while it is not known where the vault is nothing is written; then it goes on where it is", async () => {
  const { source, target, barrier, storage, clock, migration } = await aRig(5);
  let isDown = false;
  const transaction = target.transaction.bind(target);
  target.transaction = async (comparisons, writes) => {
    if (isDown) throw new Error("no answer");
    const result = await transaction(comparisons, writes);
    if (!writes.some(({ key }) => key === "core/keyring")) return result;
    isDown = true;
    throw new Error("no answer");
  };
  const moving = migration();
  const outcome = moving.run(never);
  // The last part's deadline and the pause's bound, which are not used up; then the pauses between the looks.
  expect([await clock.nextSleep(), await clock.nextSleep()]).toEqual([2_000, 2_000]);
  for (let waited = 0; waited < 3_000;) {
    const pause = await clock.nextSleep();
    waited += pause;
    clock.advance(pause);
  }
  expect(moving.phase).toBe("in doubt");
  expect(storage.current).toBe(source);
  await clock.nextSleep();
  await expect(barrier.transaction([], [put("a", "1")])).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(await barrier.get("k/000003")).toBeDefined();
  isDown = false;
  clock.advance(5_000);
  await outcome;
  expect(storage.current).toBe(target);
  await barrier.transaction([], [put("a", "2")]);
  expect(await target.get("barrier/a")).toBeDefined();
});

test("what was copied can be read although the source counted on while writes were held back", async () => {
  const { source, target, storage, barrier, migration } = await aRig(200);
  target.onTransaction = async (writes): Promise<Fate> => {
    if (!writes.some(({ key }) => key === "core/keyring")) return "done";
    for (let count = 0; count < 500; count += 1) await source.transaction([], [put("theirs", `${count}`)]);
    await storage.list("theirs");
    return "done";
  };
  await migration().run(never);
  expect(storage.current).toBe(target);
  for (const key of ["k/000000", "k/000199"]) expect(await barrier.get(key)).toBeDefined();
});

test("a commit whose answer was lost, and from which another process has gone on, is not taken back", async () => {
  const { source, target, storage, barrier, migration } = await aRig(5);
  const at = new Date(0).toISOString();
  const moved = { version: 1, vault: "v1", epoch: 0, at, migration: "m9", to: "elsewhere" } as const;
  let isCommitted = false;
  target.onTransaction = async (writes) => {
    if (isCommitted)
      await target.inner.transaction([], [stateWrite({ ...moved, state: "leaving" }, barrier)]);
    isCommitted ||= writes.some(({ key }) => key === "core/keyring");
    return isCommitted && writes.length > 1 ? "lose answer" : "done";
  };
  const moving = migration();
  await expect(moving.run(never)).rejects.toMatchObject({ code: "STORAGE_MOVED" });
  expect(moving.phase).toBe("in doubt");
  expect(storage.current).toBe(source);
  await expect(barrier.transaction([], [put("a", "1")])).rejects.toMatchObject({ code: "STORAGE_MOVED" });
});

test("a migration that is stopped leaves everything as it was", async () => {
  const { source, target, barrier, storage, migration } = await aRig(1000);
  const stop = new AbortController();
  let batches = 0;
  target.onTransaction = () => {
    batches += 1;
    if (batches === 3) stop.abort(new Error("stopped"));
    return "done";
  };
  await expect(migration().run(stop.signal)).rejects.toThrow("stopped");
  expect(storage.current).toBe(source);
  await barrier.transaction([], [put("a", "1")]);
  expect(await target.get("core/seal-config")).toBeUndefined();
});

test("while another rks has the source open nothing is moved, and it is named", async () => {
  const { source, target, barrier, storage, clock } = await aRig(5);
  const ports = { storage: source, clock, logger: silentLogger };
  await using self = await Membership.join(ports);
  const other = await Membership.join(ports);
  await other.announce("192.0.2.2:50051");
  const vault = { id: "v1", guard: barrier, members: () => self };
  const migration = (id: string): Migration =>
    new Migration({ storage, target, from: "here", to: "there", vault, id }, { clock, logger: silentLogger });
  await expect(migration("m1").run(never)).rejects.toMatchObject({
    code: "CONFLICT",
    message: expect.stringContaining("192.0.2.2:50051"),
  });
  expect([await stateOf(source), await stateOf(target)]).toEqual([undefined, undefined]);
  await other[Symbol.asyncDispose]();
  await migration("m2").run(never);
  expect(storage.current).toBe(target);
});

test("a process that has no place yet in the store that it has just moved to does not move it from under another one", async () => {
  const { source, target, barrier, storage, clock } = await aRig(5);
  const ports = { clock, logger: silentLogger };
  const other = await Membership.join({ ...ports, storage: source });
  const members = { ...UNSHARED.members, id: "not yet" };
  const vault = { id: "v1", guard: barrier, members: () => members };
  const migration = (id: string): Migration =>
    new Migration({ storage, target, from: "here", to: "there", vault, id }, ports);
  await expect(migration("m1").run(never)).rejects.toMatchObject({ code: "CONFLICT" });
  await other[Symbol.asyncDispose]();
  await migration("m2").run(never);
  expect(storage.current).toBe(target);
});

test("a number that a killed process has left in a vault folder keeps nobody from moving on", async () => {
  const { source, target, barrier, storage, clock } = await aRig(5);
  const ports = { clock, logger: silentLogger };
  await (await Membership.join({ ...ports, storage: source })).announce("10.0.0.1:50051");
  const vault = { id: "v1", guard: barrier, members: () => UNSHARED.members };
  await new Migration({ storage, target, from: "here", to: "there", vault, id: "m1" }, ports).run(never);
  expect(storage.current).toBe(target);
});

test("an rks that opens the source in the moment of the switch keeps it from being left", async () => {
  const { source, target, barrier, storage, clock } = await aRig(5);
  const ports = { storage: source, clock, logger: silentLogger };
  await using self = await Membership.join(ports);
  const vault = { id: "v1", guard: barrier, members: () => self };
  let late: Promise<Membership> | undefined;
  source.onTransaction = async (writes): Promise<"done"> => {
    const isSwitch = writes.some(
      (write) => write.type === "put" && Buffer.from(write.value).includes('"state":"switching"'),
    );
    if (isSwitch && late === undefined) await (late = Membership.join({ ...ports, storage: source.inner }));
    return "done";
  };
  const init = { storage, target, from: "here", to: "there", vault, id: "m1" };
  await expect(new Migration(init, { clock, logger: silentLogger }).run(never)).rejects.toMatchObject({
    code: "CONFLICT",
  });
  expect(storage.current).toBe(source);
  expect((await stateOf(source))?.state).toBe("leaving");
  expect((await stateOf(target))?.state).toBe("copying");
  await barrier.transaction([], [put("still", "here")]);
  await (await late)?.[Symbol.asyncDispose]();
});

test("the place of the one before on this host, which was killed, is taken from it, and the store is moved", async () => {
  const { source, target, barrier, storage, clock } = await aRig(5);
  const ports = { storage: source, clock, logger: silentLogger, host: "host-1" };
  const killed = await Membership.join(ports);
  await killed.announce("192.0.2.1:50051");
  const self = await Membership.join(ports);
  clock.advance(4_000);
  const vault = { id: "v1", guard: barrier, members: () => self };
  const init = { storage, target, from: "here", to: "there", vault, id: "m1" };
  await new Migration(init, { clock, logger: silentLogger }).run(never);
  expect(storage.current).toBe(target);
});

test("one that lives keeps the store where it is, also with the same address and from a copy of the same folder", async () => {
  const { source, target, barrier, storage, clock } = await aRig(5);
  const ports = { storage: source, clock, logger: silentLogger };
  const others = await Promise.all(["host-1", "host-2"].map((host) => Membership.join({ ...ports, host })));
  for (const other of others) await other.announce("rks.example:50051");
  const self = await Membership.join({ ...ports, host: "host-1" });
  await self.announce("rks.example:50051");
  for (const other of others) other.run(() => Promise.resolve());
  await expect
    .poll(
      async () => {
        clock.advance(500);
        return (await source.list("core/members/")).entries.filter(
          ({ key, modRevision, createRevision }) => key.endsWith("/beat") && modRevision > createRevision,
        ).length;
      },
      { timeout: 2_000, interval: 5 },
    )
    .toBe(2);
  const late = await Membership.join({ ...ports, host: "host-1" });
  const vault = { id: "v1", guard: barrier, members: () => self };
  const init = { storage, target, from: "here", to: "there", vault, id: "m1" };
  const moving = new Migration(init, { clock, logger: silentLogger }).run(never);
  clock.advance(4_000);
  await expect(moving).rejects.toMatchObject({ code: "CONFLICT" });
  for (const other of [...others, late]) {
    expect((await source.get(other.writer.fence!.key))?.modRevision).toBe(other.writer.fence?.modRevision);
    await other[Symbol.asyncDispose]();
  }
  expect(storage.current).toBe(source);
});

/** Another process with the same vault, as from a copy of its folder. */
async function aTwin({
  source,
  target,
  keyring,
  clock,
}: Rig): Promise<{ barrier: Barrier; move: () => Promise<unknown> }> {
  const twin = memoryStorage();
  for await (const entries of pagesOf(source.inner, "")) {
    const writes = entries.map(({ key, value }): Write => ({ type: "put", key, value }));
    for (const write of writes) await twin.transaction([], [write]);
  }
  const storage = new SwitchableStorage(twin);
  const barrier = await Barrier.unseal(storage, keyring());
  const vault = { id: "v1", guard: barrier };
  const init = { storage, target: target.inner, from: "twin", to: "there", vault, id: "m-twin" };
  return { barrier, move: () => new Migration(init, { clock, logger: silentLogger }).run(never) };
}

test("a copy that stood still while another process moved the vault to its target changes nothing there any more", async () => {
  const rig = await aRig(1000);
  const { target, storage, source, migration } = rig;
  const twin = await aTwin(rig);
  let wake = (): void => undefined;
  const frozen = new Promise<void>((resolve) => (wake = resolve));
  let isFrozen = (): void => undefined;
  const freezing = new Promise<void>((resolve) => (isFrozen = resolve));
  let batches = 0;
  target.onTransaction = async (): Promise<"done"> => {
    batches += 1;
    if (batches > 3) {
      isFrozen();
      await frozen;
    }
    return "done";
  };
  const outcome = migration().run(never);
  await freezing;
  await twin.move();
  await twin.barrier.transaction([], [put("k/000500", "live"), put("new", "live")]);
  await twin.barrier.transaction([], [{ type: "delete", key: "k/000501" }]);
  const live = await contents(target.inner);
  wake();
  await expect(outcome).rejects.toMatchObject({
    code: "CONFLICT",
    message: expect.stringContaining("there"),
  });
  expect(await contents(target.inner)).toEqual(live);
  expect(storage.current).toBe(source);
});

test("who takes a target takes it alone, also when another one takes it before the answer", async () => {
  const { target, barrier, clock, migration } = await aRig(5);
  const transaction = target.transaction.bind(target);
  target.transaction = async (...parameters) => {
    target.transaction = transaction;
    const result = await transaction(...parameters);
    const at = new Date(clock.now()).toISOString();
    const state = {
      version: 1,
      vault: "v1",
      epoch: 0,
      at,
      state: "copying",
      migration: "m2",
      from: "x",
    } as const;
    await claimTarget(target.inner, {
      state,
      vault: "v1",
      guard: barrier,
      source: target.inner,
      cameBy: undefined,
      to: "there",
    });
    return result;
  };
  await expect(migration().run(never)).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await stateOf(target)).toMatchObject({ state: "copying", migration: "m2" });
  expect(await target.get("core/seal-config")).toBeUndefined();
});

test("a store that many processes have shared is moved back to, with none of their places left in it", async () => {
  const { source, target, storage, barrier, migration } = await aRig(5);
  await migration("m1").run(never);
  for (let number = 1; number <= 90; number += 1) {
    const key = `core/members/${number}`;
    await source.transaction(
      [],
      [put(key, ""), put(`${key}/address`, ""), put(`core/sequence/${number}`, "")],
    );
  }
  await migration("m2", source).run(never);
  expect(storage.current).toBe(source);
  expect(await stateOf(target)).toMatchObject({ state: "moved" });
  expect((await source.list("core/")).entries.map(({ key }) => key)).toEqual([
    "core/keyring",
    "core/seal-config",
    "core/sequence",
  ]);
  expect(await barrier.get("k/000003")).toBeDefined();
});

/** Keeps the transactions that `isHeld` names from being done until `open` is called. */
function gate(
  store: TestStore,
  isHeld: (writes: readonly Write[]) => boolean,
): { open: () => void; reached: Promise<void> } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  let arrive = (): void => undefined;
  const reached = new Promise<void>((resolve) => (arrive = resolve));
  store.onTransaction = async (writes): Promise<"done"> => {
    if (isHeld(writes)) {
      arrive();
      await opened;
    }
    return "done";
  };
  return { open, reached };
}

const says =
  (state: string) =>
  (writes: readonly Write[]): boolean =>
    writes.some((write) => write.type === "put" && Buffer.from(write.value).includes(`"state":"${state}"`));

test("a source that is slow to say that it is left delays nobody, and says after all that it is not", async () => {
  const { source, target, storage, barrier, clock, migration } = await aRig(5);
  const slow = gate(source, says("switching"));
  let isOver = false;
  const outcome = migration().run(never);
  const failure = outcome.catch((reason: unknown) => reason).finally(() => (isOver = true));
  await slow.reached;
  clock.advance(2_000);
  // Held back no longer, though the source has not answered yet.
  await barrier.transaction([], [put("meanwhile", "1")]);
  expect(isOver).toBe(false);
  slow.open();
  expect(await failure).toMatchObject({ code: "TIMED_OUT" });
  expect(await stateOf(source)).toMatchObject({ state: "leaving" });
  expect((await stateOf(target))?.state).toBe("copying");
  expect(storage.current).toBe(source);
});

test("the state that another migration has written is not this one's to take back", async () => {
  const { source, barrier, migration } = await aRig(5);
  source.onTransaction = async (writes): Promise<"done"> => {
    if (!says("switching")(writes)) return "done";
    const stored = await readState(source);
    if (stored?.state.state !== "leaving") throw new TypeError("it says something else");
    const other = { ...stored.state, state: "switching", migration: "m2", entries: 1, digest: "d" } as const;
    await source.inner.transaction([], [stateWrite(other, barrier)]);
    return "done";
  };
  await expect(migration().run(never)).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await stateOf(source)).toMatchObject({ state: "switching", migration: "m2" });
});

test("while the last transaction has no answer writes wait for 2 s, then they are refused until it has one", async () => {
  const { target, barrier, storage, clock, migration } = await aRig(5);
  const slow = gate(target, (writes) => writes.some(({ key }) => key === "core/keyring"));
  const outcome = migration().run(never);
  await slow.reached;
  const waiting = barrier.transaction([], [put("a", "1")]).catch((reason: unknown) => reason);
  clock.advance(2_000);
  expect(await waiting).toMatchObject({ code: "UNAVAILABLE" });
  await expect(barrier.transaction([], [put("a", "2")])).rejects.toMatchObject({ code: "UNAVAILABLE" });
  slow.open();
  await outcome;
  expect(storage.current).toBe(target);
  await barrier.transaction([], [put("a", "3")]);
  expect(await target.get("barrier/a")).toBeDefined();
  expect(clock.pendingSleeps).toBe(0);
});

test("a source that does not answer once the vault is in the target delays nobody", async () => {
  const { source, target, barrier, migration } = await aRig(5);
  const slow = gate(source, says("moved"));
  const { left } = await migration().run(never);
  await slow.reached;
  await barrier.transaction([], [put("a", "1")]);
  expect(await target.get("barrier/a")).toBeDefined();
  expect((await stateOf(source))?.state).toBe("switching");
  slow.open();
  expect(await left).toBe(source);
  expect((await stateOf(source))?.state).toBe("moved");
});

test("a source that cannot say that it was left can be closed all the same", async () => {
  const { source, storage, target, migration } = await aRig(5);
  source.onTransaction = (writes) => (says("moved")(writes) ? "refuse" : "done");
  const { left } = await migration().run(never);
  expect(await left).toBe(source);
  expect(storage.current).toBe(target);
  expect((await stateOf(source))?.state).toBe("switching");
});

/** The same store, reached in another way. */
function anotherWayTo(store: Storage): TestStore {
  const way = new TestStore();
  return Object.assign(way, {
    get: store.get.bind(store),
    list: store.list.bind(store),
    transaction: store.transaction.bind(store),
  });
}

test("the store that the vault is in, reached by other addresses, is no target, and nobody is told to empty it", async () => {
  const { source, target, storage, migration } = await aRig(5);
  for (const live of [source, target]) {
    expect(storage.current).toBe(live);
    const before = await contents(live);
    await expect(migration("m-same", anotherWayTo(live)).run(never)).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      suggestion: expect.not.stringContaining("empty"),
    });
    expect(await contents(live)).toEqual(before);
    if (live === source) await (await migration("m1").run(never)).left;
  }
  await migration("m2", source).run(never);
  expect(storage.current).toBe(source);
});

test("of a store where this vault may be served nobody is told to empty it", async () => {
  const rig = await aRig(5);
  const twin = await aTwin(rig);
  await twin.move();
  const refused = await rig
    .migration()
    .run(never)
    .catch((reason: unknown) => reason);
  expect(refused).toMatchObject({
    code: "STORAGE_FOREIGN",
    suggestion: expect.not.stringContaining("empty"),
  });
  const other = await aRig(1);
  const foreign = await rig
    .migration("m2", other.source)
    .run(never)
    .catch((reason: unknown) => reason);
  expect(foreign).toMatchObject({ code: "STORAGE_FOREIGN", suggestion: expect.stringContaining("empty") });
});
