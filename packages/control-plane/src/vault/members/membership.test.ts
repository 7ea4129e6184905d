import { type Logger, RksError, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { expect, test } from "vitest";
import { Membership } from "./membership.js";

const SOON = { timeout: 2_000, interval: 5 };

async function join(
  storage: Storage,
  clock = new FakeClock(),
  logger: Logger = silentLogger,
): Promise<Membership> {
  return Membership.join({ storage, clock, logger });
}

test("each has a number of its own, and one that was given back is taken again", async () => {
  const storage = memoryStorage();
  const one = await join(storage);
  const two = await join(storage);
  await using three = await join(storage);
  expect([one, two, three].map(({ writer }) => writer.number)).toEqual([1, 2, 3]);
  await two[Symbol.asyncDispose]();
  await using again = await join(storage);
  expect(again.writer.number).toBe(2);
  expect(again.id).not.toBe(two.id);
  await one[Symbol.asyncDispose]();
});

test("they know one another by where agents reach them, as soon as that is told", async () => {
  const storage = memoryStorage();
  await using one = await join(storage);
  await using two = await join(storage);
  expect(two.find(one.id)).toEqual({ id: one.id, address: "" });
  await one.announce("192.0.2.1:50051");
  await two.refresh();
  expect(two.find(one.id)).toEqual({ id: one.id, address: "192.0.2.1:50051" });
  expect(two.addresses()).toEqual(["192.0.2.1:50051"]);
  await two.announce("192.0.2.2:50051");
  expect(two.addresses()).toEqual(["192.0.2.2:50051", "192.0.2.1:50051"]);
});

test("one that leaves is forgotten by the others", async () => {
  const storage = memoryStorage();
  const one = await join(storage);
  await using two = await join(storage);
  let changes = 0;
  two.onChange(() => (changes += 1));
  await one[Symbol.asyncDispose]();
  await two.refresh();
  expect([two.find(one.id), changes]).toEqual([undefined, 1]);
});

test("whoever finds its number gone after the store was exchanged takes another one at once, and is not said to have been silent", async () => {
  const storage = memoryStorage();
  const errors: string[] = [];
  const logger = { ...silentLogger, error: (message: string) => errors.push(message) };
  await using one = await join(storage, new FakeClock(), logger);
  const { id, writer } = one;
  const moved: number[] = [];
  one.run((next) => {
    moved.push(next.number);
    return Promise.resolve();
  });
  await one.announce("192.0.2.1:50051");
  await storage.transaction([], [{ type: "delete", key: writer.fence!.key }]);
  one.hurry();
  await expect.poll(() => moved, SOON).toEqual([1]);
  expect(one.id).not.toBe(id);
  expect(one.writer.fence?.modRevision).not.toBe(writer.fence?.modRevision);
});

test("of the places of those that died without a word the steward frees all, after their time", async () => {
  const storage = memoryStorage();
  const dead = [await join(storage), await join(storage)];
  const clock = new FakeClock();
  await using one = await join(storage, clock);
  one.run(() => Promise.resolve());
  await expect.poll(() => one.isHeld, SOON).toBe(true);
  await expect
    .poll(async () => {
      clock.advance(500);
      await one.refresh();
      return dead.map(({ id }) => one.find(id));
    }, SOON)
    .toEqual([undefined, undefined]);
  expect(one.writer.number).toBe(3);
});

test("one that its store does not answer for the whole time to live says so, while there are others to go to", async () => {
  const storage = memoryStorage();
  const away = { is: false };
  const unsteady: Storage = {
    get: (key) => storage.get(key),
    list: (prefix, options) => storage.list(prefix, options),
    watch: (prefix, revision, options) => storage.watch(prefix, revision, options),
    transaction: (comparisons, writes) =>
      away.is
        ? Promise.reject(new RksError("UNAVAILABLE", "no majority"))
        : storage.transaction(comparisons, writes),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  await using other = await join(storage);
  const clock = new FakeClock();
  await using one = await join(unsteady, clock);
  let silences = 0;
  one.onSilence(() => (silences += 1));
  one.run(() => Promise.resolve());
  const wait = async (steps: number): Promise<void> => {
    for (let step = 0; step < steps; step += 1) {
      clock.advance(500);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  away.is = true;
  await wait(60);
  expect(silences).toBe(0);
  await other.announce("192.0.2.2:50051");
  await one.refresh();
  await expect
    .poll(async () => {
      await wait(1);
      return silences;
    }, SOON)
    .toBeGreaterThan(0);
  away.is = false;
  await wait(20);
  const before = silences;
  await wait(20);
  expect(silences).toBe(before);
});

test("one that lost its place and finds the store left says so, writes nothing and takes it for its own no more", async () => {
  const storage = memoryStorage();
  const away = new RksError("STORAGE_MOVED", "the vault was moved");
  const left: RksError[] = [];
  let asked = 0;
  await using one = await Membership.join({
    storage,
    clock: new FakeClock(),
    logger: silentLogger,
    whyLeft: () => Promise.resolve((asked += 1) < 2 ? undefined : away),
    onLeft: (why) => left.push(why),
  });
  const moved: number[] = [];
  one.run((next) => {
    moved.push(next.number);
    return Promise.resolve();
  });
  const lose = async (): Promise<void> => {
    await storage.transaction([], [{ type: "delete", key: one.writer.fence!.key }]);
    one.hurry();
  };
  await lose();
  await expect.poll(() => moved, SOON).toEqual([1]);
  await lose();
  await expect.poll(() => left, SOON).toEqual([away]);
  expect([moved, asked]).toEqual([[1], 2]);
});
