import { storageContract } from "@rk8s/storage/testing";
import { MAX_VALUE_BYTES, memoryStorage, type Storage, type Write } from "@rk8s/storage";
import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { SwitchableStorage } from "./switchable-storage.js";

storageContract("switchable storage", () => Promise.resolve(new SwitchableStorage(memoryStorage())));

const signal = new AbortController().signal;
const put = (key: string, value: string): Write => ({ type: "put", key, value: Buffer.from(value) });
const read = async (storage: Storage, key: string): Promise<string | undefined> => {
  const entry = await storage.get(key);
  return entry === undefined ? undefined : Buffer.from(entry.value).toString();
};

/** A store in use, and a copy of it that is made in the pause. */
async function exchange(storage: SwitchableStorage, whilePaused?: () => void): Promise<Storage> {
  const copy = memoryStorage();
  const pause = await storage.pause({ signal });
  whilePaused?.();
  const { entries } = await storage.list("");
  await copy.transaction(
    [],
    entries.map(({ key, value }) => ({ type: "put", key, value })),
  );
  const { revision } = await copy.list("");
  await pause.switchTo(copy, revision);
  return copy;
}

test("after an exchange everything is read from the other store, and written there", async () => {
  const first = memoryStorage();
  const storage = new SwitchableStorage(first);
  await storage.transaction([], [put("a", "1")]);
  const copy = await exchange(storage);
  await storage.transaction([], [put("a", "2")]);
  expect(storage.current).toBe(copy);
  expect(await read(storage, "a")).toBe("2");
  expect(await read(copy, "a")).toBe("2");
  expect(await read(first, "a")).toBe("1");
});

test("what was read before an exchange and is compared after it is a lost race, though nothing has changed", async () => {
  const storage = new SwitchableStorage(memoryStorage());
  for (let count = 0; count < 5; count += 1) await storage.transaction([], [put("a", String(count))]);
  const before = await storage.get("a");
  await exchange(storage);
  const stale = { key: "a", modRevision: before?.modRevision ?? 0 };
  expect((await storage.transaction([stale], [put("a", "wrong")])).succeeded).toBe(false);
  const now = await storage.get("a");
  expect(now?.modRevision).toBeGreaterThan(before?.modRevision ?? 0);
  const fresh = { key: "a", modRevision: now?.modRevision ?? 0 };
  expect((await storage.transaction([fresh], [put("a", "right")])).succeeded).toBe(true);
  expect(await read(storage, "a")).toBe("right");
});

test("that a key must not exist holds across an exchange", async () => {
  const storage = new SwitchableStorage(memoryStorage());
  await storage.transaction([], [put("used", "1")]);
  await exchange(storage);
  const create = (key: string): Promise<{ succeeded: boolean }> =>
    storage.transaction([{ key, modRevision: 0 }], [put(key, "2")]);
  expect((await create("used")).succeeded).toBe(false);
  expect((await create("free")).succeeded).toBe(true);
});

test("revisions keep growing over several exchanges", async () => {
  const storage = new SwitchableStorage(memoryStorage());
  const revisions: number[] = [];
  for (let round = 0; round < 4; round += 1) {
    revisions.push((await storage.transaction([], [put("a", String(round))])).revision);
    revisions.push((await storage.list("")).revision);
    await exchange(storage);
    revisions.push((await storage.get("a"))?.modRevision ?? 0);
  }
  expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
});

test("transactions that come during the pause are done after it, in their order, in the other store", async () => {
  const first = memoryStorage();
  const storage = new SwitchableStorage(first);
  await storage.transaction([], [put("a", "0")]);
  const results: Promise<unknown>[] = [];
  await exchange(storage, () => {
    for (let count = 1; count <= 20; count += 1)
      results.push(storage.transaction([], [put("a", String(count))]));
  });
  results.push(storage.transaction([], [put("b", "after")]));
  await Promise.all(results);
  expect(await read(storage, "a")).toBe("20");
  expect(await read(first, "a")).toBe("0");
});

test("a pause waits for what is under way, and gives up with its signal", async () => {
  const inner = memoryStorage();
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  const slow: Storage = {
    get: (key) => inner.get(key),
    list: (prefix, range) => inner.list(prefix, range),
    transaction: async (comparisons, writes) => {
      await gate;
      return inner.transaction(comparisons, writes);
    },
    watch: (...parameters) => inner.watch(...parameters),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
  const storage = new SwitchableStorage(slow);
  const written = storage.transaction([], [put("a", "1")]);
  const abort = new AbortController();
  const pausing = storage.pause({ signal: abort.signal });
  abort.abort(new RksError("TIMED_OUT", "too long"));
  await expect(pausing).rejects.toMatchObject({ code: "TIMED_OUT" });
  const later = storage.transaction([], [put("b", "1")]);
  go();
  await Promise.all([written, later]);
  const pause = await storage.pause({ signal });
  expect(await read(storage, "b")).toBe("1");
  pause.resume();
});

test("what takes too long is refused, before and after that was said, until it goes on", async () => {
  const storage = new SwitchableStorage(memoryStorage());
  const pause = await storage.pause({ signal });
  const waiting = storage.transaction([], [put("a", "1")]);
  pause.refuse(new RksError("UNAVAILABLE", "in doubt"));
  await expect(waiting).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await expect(storage.transaction([], [put("a", "2")])).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(await read(storage, "a")).toBeUndefined();
  pause.resume();
  await storage.transaction([], [put("a", "3")]);
  expect(await read(storage, "a")).toBe("3");
});

test("a watch ends with CONFLICT at an exchange, and a new one from the list's revision misses nothing", async () => {
  const storage = new SwitchableStorage(memoryStorage());
  const { revision } = await storage.transaction([], [put("w", "0")]);
  const watching = (async () => {
    for await (const { key } of storage.watch("w", revision + 1, { signal })) expect(key).toBe("never");
  })();
  const ended = watching.catch((reason: unknown) => reason);
  const listed = await storage.list("w");
  await exchange(storage);
  expect(await ended).toMatchObject({ code: "CONFLICT" });
  await storage.transaction([], [put("w", "1")]);
  const stop = new AbortController();
  const seen: string[] = [];
  for await (const { value } of storage.watch("w", listed.revision + 1, { signal: stop.signal })) {
    seen.push(Buffer.from(value ?? []).toString());
    stop.abort();
  }
  expect(seen).toEqual(["1"]);
});

test("who wants to know is told of the keys of every transaction that may have written", async () => {
  const storage = new SwitchableStorage(memoryStorage());
  const told: (readonly string[])[] = [];
  storage.onWritten((keys) => told.push(keys));
  await storage.transaction([], [put("a", "1"), { type: "delete", key: "b" }]);
  await storage.transaction([{ key: "a", modRevision: 0 }], [put("c", "1")]);
  await storage.transaction([], []);
  expect(told).toEqual([["a", "b"], ["c"]]);
});

test("no more than 64 MiB wait for an exchange, and what waits is what it was when it came", async () => {
  const storage = new SwitchableStorage(memoryStorage());
  const pause = await storage.pause({ signal });
  const value = Buffer.alloc(MAX_VALUE_BYTES, 1);
  const results = Array.from({ length: 60 }, (_, at) =>
    storage.transaction([], [{ type: "put", key: `k/${at}`, value }]).then(
      () => "done",
      (reason: unknown) => RksError.from(reason).code,
    ),
  );
  value.fill(2);
  pause.resume();
  const answers = await Promise.all(results);
  expect(answers.filter((answer) => answer === "done")).toHaveLength(44);
  expect(answers.filter((answer) => answer === "BUSY")).toHaveLength(16);
  expect((await storage.get("k/0"))?.value[0]).toBe(1);
  const again = await storage.pause({ signal });
  const waiting = storage.transaction([], [{ type: "put", key: "later", value }]);
  again.resume();
  await waiting;
});

test("whoever lists a store that others keep busy while writes are held back misses nothing after the exchange", async () => {
  const busy = memoryStorage();
  const storage = new SwitchableStorage(busy);
  await storage.transaction([], [put("w", "0")]);
  const pause = await storage.pause({ signal });
  for (let count = 0; count < 50; count += 1) await busy.transaction([], [put("theirs", `${count}`)]);
  const listed = await storage.list("w");
  const theirs = await storage.get("theirs");
  // This one is answered when the exchange is over.
  const late = storage.list("w");
  const next = memoryStorage();
  const copied = await next.transaction([], [put("w", "0")]);
  const told = pause.revision + copied.revision;
  const left = pause.switchTo(next, copied.revision);
  expect((await storage.get("w"))?.modRevision).toBe(told);
  const { revision } = await storage.transaction([], [put("w", "1")]);
  expect(revision).toBeGreaterThan(listed.revision);
  for (const from of [listed.revision, (await late).revision]) {
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const { value } of storage.watch("w", from + 1, { signal: stop.signal })) {
      seen.push(Buffer.from(value ?? []).toString());
      stop.abort();
    }
    expect(seen).toEqual(["1"]);
  }
  const old = { key: "theirs", modRevision: theirs!.modRevision };
  expect((await storage.transaction([old], [put("w", "2")])).succeeded).toBe(false);
  await left;
});
