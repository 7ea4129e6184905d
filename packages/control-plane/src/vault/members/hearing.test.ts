import { RksError, silentLogger } from "@rk8s/protocol";
import { FakeClock, signalLoad } from "@rk8s/protocol/testing";
import { type Change, memoryStorage, type Storage } from "@rk8s/storage";
import { expect, test } from "vitest";

import { Barrier } from "../seal/barrier.js";
import { Keyring } from "../seal/keyring.js";
import { Listeners } from "./changes.js";
import { Hearing } from "./hearing.js";

const SOON = { timeout: 2_000, interval: 5 };

/** A store whose watch and whose lists can be made to fail. */
class Flaky implements Storage {
  readonly inner = memoryStorage();
  /** What watches do besides telling of changes. */
  watchFault: "none" | "deaf" | "forgotten" = "none";
  isAway = false;

  get(key: string): ReturnType<Storage["get"]> {
    return this.inner.get(key);
  }

  async list(...parameters: Parameters<Storage["list"]>): ReturnType<Storage["list"]> {
    if (this.isAway) throw new RksError("UNAVAILABLE", "the store is away");
    return this.inner.list(...parameters);
  }

  transaction(...parameters: Parameters<Storage["transaction"]>): ReturnType<Storage["transaction"]> {
    return this.inner.transaction(...parameters);
  }

  async *watch(...parameters: Parameters<Storage["watch"]>): AsyncGenerator<Change, void, void> {
    if (this.watchFault === "forgotten") {
      this.watchFault = "none";
      throw new RksError("CONFLICT", "forgotten");
    }
    for await (const change of this.inner.watch(...parameters)) {
      if (this.watchFault === "none") yield change;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}

/** Somebody who hears, and somebody else who writes. */
async function aListener() {
  const storage = new Flaky();
  const clock = new FakeClock();
  const keyring = Keyring.create(0);
  const keys = keyring.serialize();
  await put(Barrier.create(storage, keyring), "first");
  const own = await Barrier.unseal(storage, Keyring.parse(keys), 0, { number: 1 });
  const other = await Barrier.unseal(storage, Keyring.parse(keys), 0, { number: 2 });
  const listeners = new Listeners({ logger: silentLogger });
  const heard: string[] = [];
  let gaps = 0;
  listeners.on("a/", (key) => heard.push(key));
  listeners.onGap(() => (gaps += 1));
  const { revision } = await storage.list("");
  let life = AbortSignal.abort();
  const sleep = clock.sleep.bind(clock);
  clock.sleep = (ms, options) => {
    // Until the next check sleeps whoever listens, with the signal that ends all of it.
    if (ms === 400) life = options?.signal ?? life;
    return sleep(ms, options);
  };
  const hearing = new Hearing({ storage, barrier: own, clock, logger: silentLogger }, listeners, revision);
  hearing.run();
  return { storage, clock, own, other, heard, gaps: () => gaps, hearing, life: () => life };
}

async function put(barrier: Storage, ...keys: readonly string[]): Promise<void> {
  await barrier.transaction(
    [],
    keys.map((key) => ({ type: "put", key, value: Buffer.from("x") })),
  );
}

test("what others write and delete is told once, and what this process writes is not", async () => {
  const { own, other, heard, gaps, hearing } = await aListener();
  await put(own, "a/own");
  await put(other, "a/1", "b/1", "a/2");
  await other.transaction([], [{ type: "delete", key: "a/1" }]);
  await put(own, "a/own");
  await put(other, "a/last");
  await expect.poll(() => heard, SOON).toEqual(["a/1", "a/2", "a/1", "a/last"]);
  expect(gaps()).toBe(0);
  await hearing[Symbol.asyncDispose]();
});

test("a watch that tells nothing is found out within a second, and everything is to be forgotten", async () => {
  const { storage, clock, other, heard, gaps, hearing } = await aListener();
  storage.watchFault = "deaf";
  await put(other, "a/1");
  let waitedMs = 0;
  await expect
    .poll(() => {
      clock.advance(100);
      waitedMs += gaps() === 0 ? 100 : 0;
      return gaps();
    }, SOON)
    .toBeGreaterThan(0);
  expect(waitedMs).toBeLessThanOrEqual(1_000);
  storage.watchFault = "none";
  await expect
    .poll(() => {
      clock.advance(100);
      return heard;
    }, SOON)
    .toEqual(["a/1"]);
  await hearing[Symbol.asyncDispose]();
});

test("a store that does not answer lets nothing be trusted, once more when it is back", async () => {
  const { storage, clock, gaps, hearing } = await aListener();
  storage.isAway = true;
  await expect
    .poll(() => {
      clock.advance(100);
      return gaps();
    }, SOON)
    .toBeGreaterThan(1);
  expect(hearing.isCutOff).toBe(false);
  await expect
    .poll(() => {
      clock.advance(100);
      return hearing.isCutOff;
    }, SOON)
    .toBe(true);
  storage.isAway = false;
  const before = gaps();
  await expect
    .poll(() => {
      clock.advance(100);
      return gaps() > before && !hearing.isCutOff;
    }, SOON)
    .toBe(true);
  await hearing[Symbol.asyncDispose]();
});

test("while nothing is missed nothing is forgotten", async () => {
  const { clock, other, heard, gaps, hearing } = await aListener();
  for (let round = 0; round < 20; round += 1) {
    await put(other, `a/${round}`);
    await expect.poll(() => heard.length, SOON).toBe(round + 1);
    clock.advance(400);
  }
  expect(gaps()).toBe(0);
  await hearing[Symbol.asyncDispose]();
});

test("listening for ever, also to a store that comes and goes, leaves nothing with the signal that ends it", async () => {
  const { storage, clock, hearing, life } = await aListener();
  let most = 0;
  for (let round = 0; round < 60; round += 1) {
    storage.isAway = round % 20 > 15;
    for (let step = 0; step < 5; step += 1) {
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    most = Math.max(most, signalLoad(life()));
  }
  // The sleep until the next check, the one for its grace, and the watch.
  expect(most).toBeLessThanOrEqual(3);
  await hearing[Symbol.asyncDispose]();
});

test("what is written below the barrier is told although no counter and nothing else follows it", async () => {
  const { storage, clock, hearing } = await aListener();
  const told: string[] = [];
  hearing.onBelow("storage/", (key) => told.push(key));
  await storage.transaction([], [{ type: "put", key: "storage/state", value: Buffer.from("x") }]);
  await expect
    .poll(() => {
      clock.advance(100);
      return told;
    }, SOON)
    .toEqual(["storage/state"]);
  await hearing[Symbol.asyncDispose]();
});

test("changes that the store has forgotten are made up for by forgetting everything", async () => {
  const { storage, clock, other, heard, gaps, hearing } = await aListener();
  storage.watchFault = "deaf";
  await put(other, "a/lost");
  await expect
    .poll(() => {
      clock.advance(100);
      return gaps();
    }, SOON)
    .toBeGreaterThan(0);
  storage.watchFault = "forgotten";
  await expect
    .poll(async () => {
      clock.advance(100);
      await put(other, "a/after");
      return heard;
    }, SOON)
    .toContain("a/after");
  expect(heard).not.toContain("a/lost");
  await hearing[Symbol.asyncDispose]();
});
