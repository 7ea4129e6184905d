import { expect, test } from "vitest";
import { memoryStorage } from "./memory-storage.js";
import { deletePrefix, pagesOf } from "./pages.js";
import type { Storage } from "./storage.js";

async function aStorage(keys: readonly string[]): Promise<Storage> {
  const storage = memoryStorage();
  for (const key of keys) await storage.transaction([], [{ type: "put", key, value: new Uint8Array(1) }]);
  return storage;
}

async function pages(
  storage: Storage,
  prefix: string,
  range?: { after?: string; limit?: number },
): Promise<string[][]> {
  const found: string[][] = [];
  for await (const entries of pagesOf(storage, prefix, range)) found.push(entries.map(({ key }) => key));
  return found;
}

const KEYS = ["a/1", "b/1", "b/2", "b/3", "b/4", "b/5", "c/1"];

test.each([
  { name: "all at once", range: {}, expected: [["b/1", "b/2", "b/3", "b/4", "b/5"]] },
  { name: "in pages", range: { limit: 2 }, expected: [["b/1", "b/2"], ["b/3", "b/4"], ["b/5"]] },
  { name: "after a key", range: { limit: 2, after: "b/2" }, expected: [["b/3", "b/4"], ["b/5"]] },
  { name: "after the last key", range: { after: "b/5" }, expected: [[]] },
])("a prefix is read $name", async ({ range, expected }) => {
  expect(await pages(await aStorage(KEYS), "b/", range)).toEqual(expected);
});

test("what was given may be deleted before the next page is asked for", async () => {
  const storage = await aStorage(KEYS);
  const found: string[] = [];
  for await (const entries of pagesOf(storage, "b/", { limit: 2 })) {
    for (const { key } of entries) {
      found.push(key);
      await storage.transaction([], [{ type: "delete", key }]);
    }
  }
  expect(found).toEqual(["b/1", "b/2", "b/3", "b/4", "b/5"]);
  expect(await pages(storage, "")).toEqual([["a/1", "c/1"]]);
});

test("deleting a prefix leaves its neighbours, and says how many there were", async () => {
  const many = Array.from({ length: 230 }, (_, index) => `b/${index}`);
  const storage = await aStorage(["a/1", ...many, "c/1"]);
  expect(await deletePrefix(storage, "b/")).toBe(230);
  expect(await deletePrefix(storage, "b/")).toBe(0);
  expect(await pages(storage, "")).toEqual([["a/1", "c/1"]]);
});
