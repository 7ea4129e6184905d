import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import { RksError } from "@rk8s/protocol";
import { seededRandom } from "@rk8s/protocol/testing";
import { MAX_VALUE_BYTES, memoryStorage, pagesOf, type Storage, type Write } from "@rk8s/storage";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { expect, test } from "vitest";
import { copySnapshot } from "./copy-snapshot.js";

const never = new AbortController().signal;
const put = (key: string, value: string): Write => ({ type: "put", key, value: Buffer.from(value) });
const isKept = (key: string): boolean => !key.startsWith("storage/");

async function contents(storage: Storage): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for await (const entries of pagesOf(storage, "")) {
    for (const { key, value } of entries) if (isKept(key)) all.set(key, Buffer.from(value).toString());
  }
  return all;
}

/** A store in which others write before each page is read. */
function watched(inner: Storage, beforeList: () => Promise<unknown>): Storage {
  return {
    get: (key) => inner.get(key),
    list: async (prefix, range) => {
      const page = await inner.list(prefix, range);
      await beforeList();
      return page;
    },
    transaction: (comparisons, writes) => inner.transaction(comparisons, writes),
    watch: (...parameters) => inner.watch(...parameters),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
}

/** After how many of the transactions a store was this. */
function momentOf(history: readonly (readonly Write[])[], state: ReadonlyMap<string, string>): number[] {
  const model = new Map<string, string>();
  const different = new Set(state.keys());
  const moments: number[] = [];
  for (const [at, writes] of history.entries()) {
    for (const write of writes) {
      if (write.type === "put") model.set(write.key, Buffer.from(write.value).toString());
      else model.delete(write.key);
      if (model.get(write.key) === state.get(write.key)) different.delete(write.key);
      else different.add(write.key);
    }
    if (different.size === 0) moments.push(at + 1);
  }
  return moments;
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  "while others write, change and delete, the copy is one moment of the store (seed %i)",
  async (seed) => {
    const random = seededRandom(seed);
    const inner = memoryStorage();
    const history: (readonly Write[])[] = [];
    const write = async (): Promise<void> => {
      const writes = new Map<string, Write>();
      for (let count = 0; count < 5; count += 1) {
        const key = `k/${String(Math.floor(random() * 2_000)).padStart(4, "0")}`;
        writes.set(key, random() < 0.3 ? { type: "delete", key } : put(key, `${history.length}`));
      }
      history.push([...writes.values()]);
      await inner.transaction([], [...writes.values()]);
    };
    for (let at = 0; at < 600; at += 1) await write();
    const from = history.length;
    const source = watched(inner, async () => {
      // So much that it is heard, and written to the copy, before the page that was read already.
      const count = Math.floor(random() * 120);
      for (let at = 0; at < count; at += 1) await write();
      await new Promise((resolve) => setImmediate(resolve));
    });
    const copy = memoryStorage();
    const over = new AbortController();
    const copied = copySnapshot({ source, copy, isKept }, systemClock, never).finally(() => over.abort());
    for (let count = 0; count < 1_000 && !over.signal.aborted; count += 1) {
      await write();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await copied;
    expect(history.length).toBeGreaterThan(from);
    const moments = momentOf(history, await contents(copy));
    expect(Math.max(0, ...moments)).toBeGreaterThan(from);
  },
);

test("an empty store, and one that nobody writes to, are copied as they are", async () => {
  for (const count of [0, 1, 511, 512, 513, 1500]) {
    const source = memoryStorage();
    for (let at = 0; at < count; at += 1) await source.transaction([], [put(`k/${at}`, `v${at}`)]);
    const copy = memoryStorage();
    await copySnapshot({ source, copy, isKept }, systemClock, never);
    expect(await contents(copy)).toEqual(await contents(source));
  }
});

test("what keeps it from hearing of changes ends the copy; so does the signal", async () => {
  const inner = memoryStorage();
  for (let at = 0; at < 1200; at += 1) await inner.transaction([], [put(`k/${at}`, "v")]);
  const deaf: Storage = {
    ...watched(inner, () => Promise.resolve()),
    watch: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(new RksError("CONFLICT", "changes were forgotten")),
      }),
    }),
  };
  await expect(
    copySnapshot({ source: deaf, copy: memoryStorage(), isKept }, systemClock, never),
  ).rejects.toMatchObject({
    code: "CONFLICT",
    message: "changes of the store were forgotten before they could be copied",
    suggestion: "Run `rks storage backup FILE` again when less is written.",
  });
  const stop = new AbortController();
  const source = watched(inner, () => Promise.resolve(stop.abort(new Error("stopped"))));
  await expect(
    copySnapshot({ source, copy: memoryStorage(), isKept }, systemClock, stop.signal),
  ).rejects.toThrow("stopped");
});

test("a page of large values is handed to an embedded store in portions that it takes", async () => {
  const source = memoryStorage();
  const value = Buffer.alloc(MAX_VALUE_BYTES, 7);
  // Some more than may wait for the disk of an embedded store.
  const count = Math.ceil((64 * 1024 * 1024) / MAX_VALUE_BYTES) + 5;
  for (let at = 0; at < count; at += 1)
    await source.transaction([], [{ type: "put", key: `k/${at}`, value }]);
  const folder = await mkdtemp(join(tmpdir(), "rks-large-values-"));
  try {
    await using copy = await openLmdbStorage({ folder });
    await copySnapshot({ source, copy, isKept }, systemClock, never);
    const { entries } = await copy.list("k/");
    expect(entries).toHaveLength(count);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("what changes between two portions of a page is not put back", async () => {
  const inner = memoryStorage();
  const value = Buffer.alloc(MAX_VALUE_BYTES, 7);
  for (let at = 10; at < 60; at += 1) await inner.transaction([], [{ type: "put", key: `k/${at}`, value }]);
  const copied = memoryStorage();
  let isFirst = true;
  const copy = {
    ...watched(copied, () => Promise.resolve()),
    transaction: async (...parameters: Parameters<Storage["transaction"]>) => {
      const result = await copied.transaction(...parameters);
      if (isFirst) {
        isFirst = false;
        await inner.transaction([], [put("k/58", "newer"), { type: "delete", key: "k/59" }]);
        // So much that it is heard and written at once.
        for (let at = 0; at < 130; at += 1) await inner.transaction([], [put(`l/${at}`, "1")]);
        await new Promise((resolve) => setImmediate(resolve));
      }
      return result;
    },
  };
  await copySnapshot({ source: inner, copy, isKept }, systemClock, never);
  expect(Buffer.from((await copied.get("k/58"))?.value ?? []).toString()).toBe("newer");
  expect(await copied.get("k/59")).toBeUndefined();
});
