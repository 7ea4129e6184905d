import { memoryStorage, type Storage } from "@rk8s/storage";
import { storageContract } from "@rk8s/storage/testing";
import fc from "fast-check";
import { expect, test } from "vitest";

import { Barrier, MAX_BARRIER_WRITES, type Writer } from "./barrier.js";
import { Keyring } from "./keyring.js";

storageContract("barrier", () => Promise.resolve(Barrier.create(memoryStorage(), Keyring.create(0))), {
  maxWrites: MAX_BARRIER_WRITES,
  everyWriteCounts: true,
});

interface Opened {
  readonly storage: Storage;
  readonly barrier: Barrier;
  /** Open the same store again, as after a restart. */
  readonly reopen: (minimumSequence?: number) => Promise<Barrier>;
}

function aBarrier(): Opened {
  const storage = memoryStorage();
  const keyring = Keyring.create(0);
  const bytes = keyring.serialize();
  return {
    storage,
    barrier: Barrier.create(storage, keyring),
    reopen: (minimumSequence) => Barrier.unseal(storage, Keyring.parse(bytes), minimumSequence),
  };
}

async function put(barrier: Storage, key: string, value: string): Promise<void> {
  await barrier.transaction([], [{ type: "put", key, value: Buffer.from(value) }]);
}

async function raw(storage: Storage, key: string): Promise<Uint8Array> {
  return (await storage.get(key))?.value ?? new Uint8Array();
}

async function overwrite(storage: Storage, key: string, value: Uint8Array): Promise<void> {
  await storage.transaction([], [{ type: "put", key, value }]);
}

test("what is stored holds nothing of the value and the key in clear", async () => {
  const { storage, barrier } = aBarrier();
  await put(barrier, "pki/ca", "the private key");
  const { entries } = await storage.list("");
  expect(entries.map(({ key }) => key)).toEqual(["barrier/pki/ca", "core/sequence"]);
  for (const { value } of entries) expect(Buffer.from(value).toString("latin1")).not.toContain("private");
});

test("the same value written twice is stored differently", async () => {
  const { storage, barrier } = aBarrier();
  await put(barrier, "a", "same");
  const first = await raw(storage, "barrier/a");
  await put(barrier, "a", "same");
  expect(await raw(storage, "barrier/a")).not.toEqual(first);
});

test("a record with any one bit changed is refused with its path", async () => {
  const { storage, barrier } = aBarrier();
  await put(barrier, "join/token", "value");
  const good = await raw(storage, "barrier/join/token");
  for (let bit = 0; bit < good.byteLength * 8; bit += 1) {
    const bad = Uint8Array.from(good);
    bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    await overwrite(storage, "barrier/join/token", bad);
    const error = await barrier.get("join/token").catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(String(error)).toContain("join/token");
  }
});

test.each([0, 1, 11, 38, 39])("a record cut to %i bytes is refused", async (length) => {
  const { storage, barrier } = aBarrier();
  await put(barrier, "a", "value");
  await overwrite(storage, "barrier/a", (await raw(storage, "barrier/a")).subarray(0, length));
  await expect(barrier.get("a")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await expect(barrier.list("")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("two records that were swapped are both refused", async () => {
  const { storage, barrier } = aBarrier();
  await put(barrier, "policy/a", "weak");
  await put(barrier, "policy/b", "strong");
  const [a, b] = [await raw(storage, "barrier/policy/a"), await raw(storage, "barrier/policy/b")];
  await overwrite(storage, "barrier/policy/a", b);
  await overwrite(storage, "barrier/policy/b", a);
  await expect(barrier.get("policy/a")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await expect(barrier.get("policy/b")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("an old record written back after a restart is refused", async () => {
  const { storage, barrier, reopen } = aBarrier();
  await put(barrier, "token", "unused");
  const old = await raw(storage, "barrier/token");
  await put(barrier, "token", "used");
  const again = await reopen();
  await overwrite(storage, "barrier/token", old);
  await expect(again.get("token")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("a counter put back to an older state gives the newer records the lie", async () => {
  const { storage, barrier, reopen } = aBarrier();
  await put(barrier, "a", "1");
  const counter = await raw(storage, "core/sequence");
  await put(barrier, "a", "2");
  await overwrite(storage, "core/sequence", counter);
  const again = await reopen();
  await expect(again.get("a")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("a store put back as a whole is refused by one who remembers its sequence number", async () => {
  const { barrier, reopen } = aBarrier();
  await put(barrier, "a", "1");
  expect((await reopen(barrier.sequence)).sequence).toBe(1);
  await expect(reopen(barrier.sequence + 1)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("the sequence number to remember is that of the last transaction that is durable", async () => {
  const storage = memoryStorage();
  const barrier = Barrier.create(storage, Keyring.create(0));
  const writing = put(barrier, "a", "1");
  expect(barrier.sequence).toBe(0);
  await writing;
  expect(barrier.sequence).toBe(1);
  await barrier.transaction([{ key: "a", modRevision: 99 }], [{ type: "delete", key: "a" }]);
  expect(barrier.sequence).toBe(1);
  await storage[Symbol.asyncDispose]();
  await expect(put(barrier, "b", "1")).rejects.toThrow("closed");
  expect(barrier.sequence).toBe(1);
});

test("a missing or damaged counter is refused", async () => {
  const { storage, barrier, reopen } = aBarrier();
  await expect(reopen()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await put(barrier, "a", "1");
  await overwrite(storage, "core/sequence", await raw(storage, "barrier/a"));
  await expect(reopen()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("reopened, it reads what was written before and after, transactions that failed included", async () => {
  const { barrier, reopen } = aBarrier();
  await put(barrier, "a", "1");
  await barrier.transaction(
    [{ key: "a", modRevision: 77 }],
    [{ type: "put", key: "a", value: Buffer.from("no") }],
  );
  await put(barrier, "b", "2");
  const again = await reopen();
  await put(again, "c", "3");
  await put(again, "a", "4");
  const { entries } = await again.list("");
  expect(entries.map(({ key, value }) => `${key}=${Buffer.from(value).toString()}`)).toEqual([
    "a=4",
    "b=2",
    "c=3",
  ]);
});

test("after a rotation the old records are readable and new ones need the new term", async () => {
  const { storage, barrier } = aBarrier();
  await put(barrier, "old", "1");
  const keyring = Keyring.create(0);
  const rotatedFrom = Barrier.create(storage, keyring);
  await put(rotatedFrom, "old", "1");
  const before = keyring.serialize();
  const rotated = keyring.rotated(5);
  const after = rotated.serialize();
  rotatedFrom.replaceKeyring(rotated);
  await put(rotatedFrom, "new", "2");
  const withNew = await Barrier.unseal(storage, Keyring.parse(after));
  expect(Buffer.from((await withNew.get("old"))?.value ?? []).toString()).toBe("1");
  expect(Buffer.from((await withNew.get("new"))?.value ?? []).toString()).toBe("2");
  await expect(Barrier.unseal(storage, Keyring.parse(before))).rejects.toMatchObject({
    code: "STORAGE_CORRUPT",
  });
});

test("sealed, every call says VAULT_SEALED and a running watch ends with it", async () => {
  const { barrier } = aBarrier();
  await put(barrier, "a", "1");
  const watch = barrier.watch("", 2, { signal: new AbortController().signal });
  const next = watch.next().catch((reason: unknown) => reason);
  barrier.seal();
  expect(await next).toMatchObject({ code: "VAULT_SEALED" });
  await expect(barrier.get("a")).rejects.toMatchObject({ code: "VAULT_SEALED" });
  await expect(barrier.list("a")).rejects.toMatchObject({ code: "VAULT_SEALED" });
  await expect(put(barrier, "a", "1")).rejects.toMatchObject({ code: "VAULT_SEALED" });
});

test("any value written under any key comes back", async () => {
  const { barrier } = aBarrier();
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }),
      fc.uint8Array({ maxLength: 300 }),
      async (key, value) => {
        await barrier.transaction([], [{ type: "put", key, value }]);
        expect(Buffer.from((await barrier.get(key))?.value ?? [])).toEqual(Buffer.from(value));
      },
    ),
    { numRuns: 100 },
  );
});

/** Two processes over one store, each with a number and a fence of its own. */
async function twoWriters(): Promise<{
  readonly storage: Storage;
  readonly keys: Uint8Array;
  readonly barriers: readonly [Barrier, Barrier];
  readonly fences: readonly [string, string];
}> {
  const storage = memoryStorage();
  const keyring = Keyring.create(0);
  const keys = keyring.serialize();
  await put(Barrier.create(storage, keyring), "a", "by the first of all");
  const fences = ["member/1", "member/2"] as const;
  const writerOf = async (number: number): Promise<Writer> => {
    const key = `member/${number}`;
    const { revision } = await storage.transaction([], [{ type: "put", key, value: Buffer.from("x") }]);
    return { number, fence: { key, modRevision: revision } };
  };
  const one = await Barrier.unseal(storage, Keyring.parse(keys), 0, await writerOf(1));
  const other = await Barrier.unseal(storage, Keyring.parse(keys), 0, await writerOf(2));
  return { storage, keys, barriers: [one, other], fences };
}

test("two writers read what the other writes, before and after they knew of one another", async () => {
  const { barriers } = await twoWriters();
  const [one, other] = barriers;
  for (let round = 0; round < 5; round += 1) {
    await Promise.all([put(one, "b", `one ${round}`), put(other, "c", `other ${round}`), put(one, "d", "")]);
    expect(Buffer.from((await other.get("b"))!.value).toString()).toBe(`one ${round}`);
    expect(Buffer.from((await one.get("c"))!.value).toString()).toBe(`other ${round}`);
  }
  expect(Buffer.from((await other.get("a"))!.value).toString()).toBe("by the first of all");
});

test("of two writers' transactions on what both have read one wins", async () => {
  const { barriers } = await twoWriters();
  const { modRevision } = (await barriers[0].get("a"))!;
  const results = await Promise.all(
    barriers.map(async (barrier) =>
      barrier.transaction(
        [{ key: "a", modRevision }],
        [{ type: "put", key: "a", value: Buffer.from("mine") }],
      ),
    ),
  );
  expect(results.filter(({ succeeded }) => succeeded)).toHaveLength(1);
});

test("all transactions count, whoever did them", async () => {
  const { storage, keys, barriers } = await twoWriters();
  for (const barrier of [...barriers, ...barriers]) await put(barrier, "b", "");
  const third = await Barrier.unseal(storage, Keyring.parse(keys), 5, { number: 3 });
  expect(third.sequence).toBe(5);
  await put(third, "b", "");
  expect(third.sequence).toBe(6);
  await expect(Barrier.unseal(storage, Keyring.parse(keys), 7, { number: 3 })).rejects.toMatchObject({
    code: "STORAGE_CORRUPT",
  });
});

test("who lost its number writes nothing and is told, and goes on under another one", async () => {
  const { storage, barriers, fences } = await twoWriters();
  const [one, other] = barriers;
  await overwrite(storage, fences[0], Buffer.from("somebody else"));
  await expect(put(one, "b", "late")).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(await other.get("b")).toBeUndefined();
  await one.writeAs({ number: 3 });
  await put(one, "b", "in time");
  expect(Buffer.from((await other.get("b"))!.value).toString()).toBe("in time");
});

test("who takes a number goes on counting where the one before ended", async () => {
  const { storage, keys, barriers } = await twoWriters();
  await put(barriers[0], "b", "1");
  const next = await Barrier.unseal(storage, Keyring.parse(keys), 0, { number: 1 });
  await put(next, "b", "2");
  const late = await Barrier.unseal(storage, Keyring.parse(keys), 0, { number: 4 });
  for (const barrier of [...barriers, next, late]) {
    expect(Buffer.from((await barrier.get("b"))!.value).toString()).toBe("2");
  }
});

test("an older record of another writer that is put back is refused, and so is one whose counter is gone", async () => {
  const { storage, keys, barriers } = await twoWriters();
  await put(barriers[0], "b", "old");
  const old = await raw(storage, "barrier/b");
  await put(barriers[0], "b", "new");
  const reader = await Barrier.unseal(storage, Keyring.parse(keys), 0, { number: 5 });
  await overwrite(storage, "barrier/b", old);
  await expect(reader.get("b")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await put(barriers[1], "c", "by two");
  await storage.transaction([], [{ type: "delete", key: "core/sequence/2" }]);
  const later = await Barrier.unseal(storage, Keyring.parse(keys), 0, { number: 6 });
  await expect(later.get("c")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("a term that another writer has added is learnt when it is met", async () => {
  const { barriers, keys } = await twoWriters();
  const [one, other] = barriers;
  const rotated = Keyring.parse(keys).rotated(1);
  const bytes = rotated.serialize();
  one.replaceKeyring(rotated);
  await put(one, "b", "under 2");
  await expect(other.get("b")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  let asked = 0;
  other.learnTermsBy(() => {
    asked += 1;
    other.replaceKeyring(Keyring.parse(bytes));
    return Promise.resolve();
  });
  const [got, listed] = await Promise.all([other.get("b"), other.list("")]);
  expect(Buffer.from(got!.value).toString()).toBe("under 2");
  expect(listed.entries).toHaveLength(2);
  expect(asked).toBe(1);
});

test("what others have encrypted uses up the key as well", async () => {
  const { storage, barriers } = await twoWriters();
  const [one, other] = barriers;
  const before = other.keyUse.encryptions;
  await put(one, "b", "1");
  await put(one, "b", "2");
  const key = "core/sequence/1";
  other.heardCounter(key, await raw(storage, key));
  expect(other.keyUse.encryptions).toBe(before + 4);
});
