import { RksError, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Barrier } from "../seal/barrier.js";
import { Keyring } from "../seal/keyring.js";
import { readMembers } from "./places.js";
import { StoreSharing } from "./sharing.js";

const SOON = { timeout: 2_000, interval: 5 };
const ADDRESS = "192.0.2.1:50051";

/** What of the store fails: the n-th call from now on, and `length` calls together. */
const fault = { at: Number.POSITIVE_INFINITY, length: 1, calls: 0 };
let inner: Storage;
let storage: Storage;
let clock: FakeClock;
let barrier: Barrier;
let sharing: StoreSharing;

beforeEach(async () => {
  fault.at = Number.POSITIVE_INFINITY;
  inner = memoryStorage();
  const check = (): void => {
    fault.calls += 1;
    if (fault.calls >= fault.at && fault.calls < fault.at + fault.length)
      throw new RksError("UNAVAILABLE", "no leader");
  };
  storage = {
    get: async (key) => (check(), inner.get(key)),
    list: async (prefix, range) => (check(), inner.list(prefix, range)),
    transaction: async (comparisons, writes) => (check(), inner.transaction(comparisons, writes)),
    watch: (...parameters) => inner.watch(...parameters),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  clock = new FakeClock();
  barrier = Barrier.create(storage, Keyring.create(Date.now()));
  await barrier.transaction([], [{ type: "put", key: "a", value: Buffer.of(1) }]);
  sharing = new StoreSharing({ storage, clock, logger: silentLogger });
  await sharing.announce(ADDRESS);
});
afterEach(async () => {
  fault.at = Number.POSITIVE_INFINITY;
  await sharing[Symbol.asyncDispose]();
});

function begin(at: number, length = 1): void {
  Object.assign(fault, { at, length, calls: 0 });
  sharing.begin(barrier, () => undefined);
}

async function untilShared(): Promise<void> {
  await expect
    .poll(async () => {
      clock.advance(50);
      return (await readMembers(inner)).map(({ address }) => address);
    }, SOON)
    .toEqual([ADDRESS]);
  await expect.poll(() => sharing.members.addresses(), SOON).toEqual([ADDRESS]);
}

test.each(Array.from({ length: 12 }, (_, index) => index + 1))(
  "when the store does not answer call %i of those that share it, it is shared at the next try, with one place",
  async (at) => {
    begin(at);
    await untilShared();
    const [member] = await readMembers(inner);
    expect(sharing.members.id).toBe(member?.id);
    expect(barrier.writer).toMatchObject({ number: 1 });
    expect(barrier.writer.fence).toBeDefined();
    expect(await barrier.transaction([], [{ type: "put", key: "b", value: Buffer.of(1) }])).toMatchObject({
      succeeded: true,
    });
    // The place is kept for longer than one that nobody renews.
    for (let step = 0; step < 40; step += 1) {
      clock.advance(500);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await readMembers(inner)).map(({ id }) => id)).toEqual([sharing.members.id]);
    await sharing[Symbol.asyncDispose]();
    expect(await readMembers(inner)).toEqual([]);
  },
);

test("as long as it cannot be shared this process is no steward, is cut off, and is none of those that have the store", async () => {
  begin(1, 1_000);
  await expect.poll(() => sharing.isCutOff, SOON).toBe(true);
  expect(sharing.isHeld).toBe(false);
  expect(sharing.isShared).toBe(false);
  expect(sharing.id).not.toBe("");
  let isHeld = false;
  const held = sharing.whenHeld(new AbortController().signal).then(() => (isHeld = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(isHeld).toBe(false);
  fault.at = Number.POSITIVE_INFINITY;
  await untilShared();
  await held;
  expect([sharing.isHeld, sharing.isCutOff]).toEqual([true, false]);
});

test("who waits to be the steward of a store that cannot be shared waits no longer than told", async () => {
  begin(1, 1_000);
  const over = new AbortController();
  const waiting = sharing.whenHeld(over.signal);
  over.abort();
  await expect(waiting).resolves.toBeUndefined();
});

test("a store that cannot be shared is given up when the vault is sealed", async () => {
  begin(1, 1_000);
  await expect.poll(() => sharing.isCutOff, SOON).toBe(true);
  await sharing[Symbol.asyncDispose]();
  sharing.begin(barrier, () => undefined);
  expect(clock.pendingSleeps).toBe(0);
  expect(sharing.isShared).toBe(false);
});
