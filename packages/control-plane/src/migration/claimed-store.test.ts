import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  MAX_KEY_BYTES,
  MAX_VALUE_BYTES,
  memoryStorage,
  pagesOf,
  type Storage,
  type Write,
} from "@rk8s/storage";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readState, stateWrite } from "../store/store-state.js";
import { ClaimedStore } from "./claimed-store.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-claimed-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const keys = { deriveKey: () => ({ term: 1, key: Buffer.alloc(32, 7) }) };
const copyingBy = (migration: string): Write =>
  stateWrite({ version: 1, vault: "v1", epoch: 0, at: "now", state: "copying", migration, from: "x" }, keys);
const put = (key: string, value = "1"): Write => ({ type: "put", key, value: Buffer.from(value) });

async function take(storage: Storage, migration: string): Promise<ClaimedStore> {
  const stored = await readState(storage);
  return ClaimedStore.take(storage, { name: "there", stored, state: copyingBy(migration) });
}

async function keysIn(storage: Storage): Promise<readonly string[]> {
  const all: string[] = [];
  for await (const entries of pagesOf(storage, "")) all.push(...entries.map(({ key }) => key));
  return all;
}

describe.each([
  { name: "memory", open: () => Promise.resolve(memoryStorage()) },
  { name: "LMDB", open: async () => openLmdbStorage({ folder: await mkdtemp(join(folder, "store-")) }) },
])("$name", ({ open }) => {
  test("who has taken a store last writes to it, and nobody else", async () => {
    await using storage = await open();
    const first = await take(storage, "m1");
    expect(first.wasEmpty).toBe(true);
    await first.write([put("a"), put("b")]);
    const second = await take(storage, "m2");
    expect(second.wasEmpty).toBe(false);
    await expect(first.write([put("a", "2")])).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(first.clear("")).rejects.toMatchObject({ code: "CONFLICT" });
    expect((await first.transaction([put("c")])).succeeded).toBe(false);
    expect(await keysIn(storage)).toEqual(["a", "b", "storage/state"]);
    await second.write([put("a", "3")]);
    expect(Buffer.from((await storage.get("a"))?.value ?? []).toString()).toBe("3");
  });

  test("of two that take a store at the same time one is told", async () => {
    await using storage = await open();
    const taken = await Promise.allSettled(["m1", "m2"].map((migration) => take(storage, migration)));
    expect(taken.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });

  test("as much as the store takes at once is written with the comparison, and cleared but for the state", async () => {
    await using storage = await open();
    const claimed = await take(storage, "m1");
    const key = "k".repeat(MAX_KEY_BYTES);
    const largest: Write = { type: "put", key, value: Buffer.alloc(MAX_VALUE_BYTES, 1) };
    await claimed.write([largest, ...Array.from({ length: 300 }, (_, at) => put(`m/${at}`))]);
    expect(await keysIn(storage)).toHaveLength(302);
    await claimed.clear("m/");
    expect(await keysIn(storage)).toEqual([key, "storage/state"]);
    await claimed.clear("");
    expect(await keysIn(storage)).toEqual(["storage/state"]);
  });
});
