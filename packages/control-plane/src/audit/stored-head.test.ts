import { memoryStorage, type Storage } from "@rk8s/storage";
import { beforeEach, expect, test } from "vitest";
import type { ChainHead } from "./chain-link.js";
import { clusterHead, StoredHead } from "./stored-head.js";

let storage: Storage;
let isShared: boolean;

beforeEach(() => {
  storage = memoryStorage();
  isShared = false;
});

const at = (sequence: number): ChainHead => ({ sequence, sha256: String(sequence).padStart(64, "0") });
const of = (host: string): StoredHead => clusterHead(storage, { host, isShared: () => isShared });

test("is what a host kept last, while it had the store alone or with others", async () => {
  expect(await of("a").load()).toBeUndefined();
  for (const [sequence, shared] of [
    [3, false],
    [5, true],
    [9, false],
    [11, false],
    [12, true],
  ] as const) {
    isShared = shared;
    await of("a").save(at(sequence));
    for (isShared of [true, false]) expect(await of("a").load()).toEqual(at(sequence));
  }
});

test("follows a store that begins to be shared while it is open", async () => {
  const head = of("a");
  await head.save(at(1));
  isShared = true;
  await of("b").save(at(7));
  await head.save(at(2));
  expect(await of("a").load()).toEqual(at(2));
  expect(await of("b").load()).toEqual(at(7));
});

test("of a store that hosts have alone by turns stays each host's own", async () => {
  isShared = true;
  await of("b").save(at(20));
  isShared = false;
  await of("b").save(at(60));
  isShared = true;
  await of("a").save(at(4));
  isShared = false;
  await of("a").save(at(5));
  for (isShared of [true, false]) {
    expect(await of("a").load()).toEqual(at(5));
    expect(await of("b").load()).toEqual(at(60));
  }
});

test("is taken up by a host without one of its own where it has the store alone, and only there", async () => {
  await of("a").save(at(40));
  isShared = true;
  expect(await of("new").load()).toBeUndefined();
  isShared = false;
  expect(await of("new").load()).toEqual(at(40));
});

test("is forgotten under both names", async () => {
  await of("a").save(at(1));
  isShared = true;
  await of("a").save(at(2));
  await of("a").forget();
  for (isShared of [true, false]) expect(await of("a").load()).toBeUndefined();
});

test("of a process that never shares has one name", async () => {
  const head = new StoredHead(storage, { prefix: "heads/", alone: "one" });
  await head.save(at(4));
  expect(await head.load()).toEqual(at(4));
  expect((await storage.list("heads/")).entries).toHaveLength(1);
  await head.forget();
  expect((await storage.list("heads/")).entries).toEqual([]);
});
