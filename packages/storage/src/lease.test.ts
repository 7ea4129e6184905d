// oxlint-disable vitest/no-standalone-expect -- each rule is a test
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { FakeClock, signalLoad } from "@rk8s/protocol/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

import { Lease } from "./lease.js";
import { openLmdbStorage } from "./lmdb/lmdb-storage.js";
import { memoryStorage } from "./memory-storage.js";
import type { Storage } from "./storage.js";

const TTL_MS = 9_000;

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "rks-lease-"));
});
afterAll(async () => {
  await rm(base, { recursive: true });
});

const stores: Readonly<Record<string, () => Promise<Storage>>> = {
  memory: () => Promise.resolve(memoryStorage()),
  lmdb: async () => openLmdbStorage({ folder: await mkdtemp(join(base, "store-")) }),
};

/** A lease and processes that want it, each with a clock of its own. */
interface Contest {
  readonly storage: Storage;
  readonly clocks: readonly [FakeClock, FakeClock];
  readonly one: Lease;
  readonly other: Lease;
}

/** Wait until the holder sleeps towards its next renewal, and let that time pass. */
async function pause(clock: FakeClock): Promise<void> {
  while ((await clock.nextSleep()) !== TTL_MS / 3);
  clock.advance(TTL_MS / 3);
}

for (const [name, open] of Object.entries(stores)) {
  const rule = (title: string, body: (contest: Contest) => Promise<void>): void => {
    // oxlint-disable-next-line vitest/expect-expect -- the bodies assert
    test(`${name}: ${title}`, async () => {
      await using storage = await open();
      const clocks = [new FakeClock({ now: 1e12 }), new FakeClock({ now: 5e11 })] as const;
      const lease = (holder: string, clock: FakeClock): Lease =>
        new Lease({ storage, key: "lease", holder, ttlMs: TTL_MS, clock });
      await body({ storage, clocks, one: lease("one", clocks[0]), other: lease("other", clocks[1]) });
    });
  };

  rule("one of two has it, and both know who", async ({ one, other }) => {
    expect(await Promise.all([one.tryTake(), other.tryTake()])).toEqual([true, false]);
    expect([one.isHeld, other.isHeld]).toEqual([true, false]);
    expect([await one.holder(), await other.holder()]).toEqual(["one", "one"]);
  });

  rule(
    "given back it is free at once, and giving it back twice frees it for nobody else",
    async (contest) => {
      const { one, other } = contest;
      await one.tryTake();
      await one.release();
      expect([one.isHeld, await other.holder()]).toEqual([false, undefined]);
      expect(await other.tryTake()).toBe(true);
      await one.release();
      expect(await one.holder()).toBe("other");
    },
  );

  rule("renewing it for ever leaves nothing with the signal that ends that", async ({ one, clocks }) => {
    const life = new AbortController();
    await one.tryTake();
    const kept = one.keep(life.signal);
    for (let round = 0; round < 50; round += 1) {
      await pause(clocks[0]);
      // The sleep until the next renewal.
      expect(signalLoad(life.signal)).toBeLessThanOrEqual(2);
    }
    life.abort();
    expect([await kept, signalLoad(life.signal)]).toEqual([false, 0]);
  });

  rule("a holder that renews keeps it however long the other watches", async ({ one, other, clocks }) => {
    await one.tryTake();
    for (let round = 0; round < 10; round += 1) {
      expect(await other.tryTake()).toBe(false);
      for (const clock of clocks) clock.advance(TTL_MS - 1);
      expect(await one.renew()).toBe(true);
    }
    expect(one.isHeld).toBe(true);
  });

  rule(
    "a silent holder loses it, but not before the other has watched for the whole time",
    async (contest) => {
      const { one, other, clocks } = contest;
      await one.tryTake();
      clocks[1].advance(100 * TTL_MS);
      expect(await other.tryTake()).toBe(false);
      clocks[1].advance(TTL_MS - 1);
      expect(await other.tryTake()).toBe(false);
      clocks[1].advance(1);
      expect(await other.tryTake()).toBe(true);
    },
  );

  rule("a holder that was frozen cannot write any more, and learns why", async (contest) => {
    const { storage, one, other, clocks } = contest;
    await one.tryTake();
    const { fence } = one;
    const write = { type: "put", key: "work", value: Buffer.from("one") } as const;
    expect((await storage.transaction([fence], [write])).succeeded).toBe(true);
    await other.tryTake();
    clocks[1].advance(TTL_MS);
    expect(await other.tryTake()).toBe(true);
    // Its own clock stood still, as in a suspended machine: it believes that it has the lease, and the store knows better.
    expect(one.isHeld).toBe(true);
    expect((await storage.transaction([fence], [write])).succeeded).toBe(false);
    expect(await one.renew()).toBe(false);
    expect(one.isHeld).toBe(false);
    await one.release();
    expect(await one.holder()).toBe("other");
  });

  rule("a holder whose own time is over knows before anybody may take it", async ({ one, other, clocks }) => {
    await one.tryTake();
    await other.tryTake();
    clocks[0].advance(TTL_MS);
    expect(one.isHeld).toBe(false);
    expect(await other.tryTake()).toBe(false);
  });

  rule("wall clocks that jump change nothing", async ({ one, other, clocks }) => {
    await one.tryTake();
    await other.tryTake();
    clocks[0].jump(1e9);
    clocks[1].jump(-1e9);
    expect(await other.tryTake()).toBe(false);
    clocks[1].jump(2e9);
    expect(await other.tryTake()).toBe(false);
    expect(one.isHeld).toBe(true);
  });

  rule("of many that find it silent one takes it", async ({ storage, one, clocks }) => {
    await one.tryTake();
    const clock = clocks[1];
    const many = Array.from(
      { length: 20 },
      (_, index) => new Lease({ storage, key: "lease", holder: `${index}`, ttlMs: TTL_MS, clock }),
    );
    await Promise.all(many.map(async (lease) => lease.tryTake()));
    clock.advance(TTL_MS);
    const taken = await Promise.all(many.map(async (lease) => lease.tryTake()));
    expect(taken.filter(Boolean)).toHaveLength(1);
  });

  rule("what is done with the taking is done once, or not at all", async (contest) => {
    const { storage, one, other, clocks } = contest;
    await storage.transaction([], [{ type: "put", key: "member/one", value: Buffer.from("here") }]);
    await one.tryTake();
    const seen: string[] = [];
    const expel = async (silent: string) => {
      seen.push(silent);
      const member = await storage.get(`member/${silent}`);
      const key = `member/${silent}`;
      const comparisons = [{ key, modRevision: member?.modRevision ?? 0 }];
      return { comparisons, writes: [{ type: "delete", key } as const] };
    };
    expect(await other.tryTake(expel)).toBe(false);
    expect(seen).toEqual([]);
    clocks[1].advance(TTL_MS);
    expect(await other.tryTake(expel)).toBe(true);
    expect(seen).toEqual(["one"]);
    expect(await storage.get("member/one")).toBeUndefined();
  });

  rule("it can be taken from the silent for nobody, and not from the living", async (contest) => {
    const { one, other, clocks } = contest;
    await one.tryTake();
    expect(await other.tryFree()).toBe(false);
    clocks[1].advance(TTL_MS);
    await one.renew();
    expect(await other.tryFree()).toBe(false);
    clocks[1].advance(TTL_MS);
    expect(await other.tryFree()).toBe(true);
    expect([await other.holder(), await one.renew()]).toEqual([undefined, false]);
  });

  rule("keeping renews in time, and ends when the lease is lost", async ({ one, other, clocks }) => {
    await one.tryTake();
    const stop = new AbortController();
    const kept = one.keep(stop.signal);
    for (let round = 0; round < 6; round += 1) await pause(clocks[0]);
    expect(one.isHeld).toBe(true);
    await other.tryTake();
    clocks[1].advance(TTL_MS);
    await expect
      .poll(async () => {
        clocks[1].advance(TTL_MS);
        return other.tryTake();
      })
      .toBe(true);
    await pause(clocks[0]);
    expect(await kept).toBe(true);
    expect(clocks[0].pendingSleeps).toBe(0);
  });

  rule("work runs while the lease is held, and what is aborted gives it back", async ({ one, other }) => {
    const stop = new AbortController();
    let isWorking = false;
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const work = async (signal: AbortSignal): Promise<void> => {
      isWorking = true;
      begin();
      await new Promise<void>((ended) => signal.addEventListener("abort", () => ended(), { once: true }));
      isWorking = false;
    };
    const ran = one.run(work, { signal: stop.signal });
    await begun;
    expect([isWorking, one.isHeld, await other.tryTake()]).toEqual([true, true, false]);
    stop.abort();
    await ran;
    expect([isWorking, one.isHeld, await other.tryTake()]).toEqual([false, false, true]);
  });
}

test("a store that does not answer ends the work when the time is over", async () => {
  const clock = new FakeClock();
  const inner = memoryStorage();
  let hangs = false;
  const storage: Storage = {
    get: (key) => inner.get(key),
    list: (prefix, range) => inner.list(prefix, range),
    transaction: (comparisons, writes) =>
      hangs ? new Promise(() => undefined) : inner.transaction(comparisons, writes),
    watch: (prefix, from, options) => inner.watch(prefix, from, options),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
  const lease = new Lease({ storage, key: "lease", holder: "one", ttlMs: TTL_MS, clock });
  await lease.tryTake();
  hangs = true;
  const kept = lease.keep(new AbortController().signal);
  expect(await clock.nextSleep()).toBe(TTL_MS / 3);
  clock.advance(TTL_MS / 3);
  expect(await clock.nextSleep()).toBe((TTL_MS * 2) / 3);
  clock.advance((TTL_MS * 2) / 3);
  expect(await kept).toBe(true);
  expect(lease.isHeld).toBe(false);
});
