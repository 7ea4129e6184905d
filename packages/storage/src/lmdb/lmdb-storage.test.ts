import { mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { openLmdbStorage } from "./lmdb-storage.js";
import { put, storageContract } from "../testing/storage-contract.js";

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "rks-lmdb-"));
});
afterAll(async () => {
  await rm(base, { recursive: true });
});

const newFolder = (): Promise<string> => mkdtemp(join(base, "store-"));

storageContract("lmdb", async () => openLmdbStorage({ folder: await newFolder() }));

test("entries and revision survive closing and opening", async () => {
  const folder = await newFolder();
  {
    await using storage = await openLmdbStorage({ folder });
    await storage.transaction([], [put("a", "1")]);
    await storage.transaction([], [put("b", "2")]);
  }
  await using storage = await openLmdbStorage({ folder });
  const { entries, revision } = await storage.list("");
  expect(entries.map(({ key, modRevision }) => [key, modRevision])).toEqual([
    ["a", 1],
    ["b", 2],
  ]);
  expect(revision).toBe(2);
  expect(await storage.transaction([], [put("c", "3")])).toEqual({ succeeded: true, revision: 3 });
});

test("a watch from a revision before the store was opened is refused", async () => {
  const folder = await newFolder();
  {
    await using storage = await openLmdbStorage({ folder });
    await storage.transaction([], [put("a", "1")]);
  }
  await using storage = await openLmdbStorage({ folder });
  const watch = storage.watch("", 1, { signal: new AbortController().signal });
  await expect(watch[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "CONFLICT" });
});

test("the folder is 0700 and its files are 0600", async () => {
  const folder = join(await newFolder(), "new", "er");
  await using storage = await openLmdbStorage({ folder });
  await storage.transaction([], [put("a", "1")]);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  const files = await readdir(folder);
  expect(files.toSorted()).toEqual(["data.mdb", "lock.mdb"]);
  for (const file of files) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
});

test.each([
  { name: "ten bytes", content: Buffer.alloc(10, 7) },
  { name: "garbage", content: Buffer.alloc(8192, 7) },
  { name: "zeros", content: Buffer.alloc(16_384) },
])("a data file that is $name is refused", async ({ content }) => {
  const folder = await newFolder();
  await writeFile(join(folder, "data.mdb"), content);
  await expect(openLmdbStorage({ folder })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("a data file that was cut short is an error, not the end of the process", async () => {
  const folder = await newFolder();
  {
    await using storage = await openLmdbStorage({ folder });
    for (let index = 0; index < 200; index += 1) {
      await storage.transaction([], [{ type: "put", key: `k/${index}`, value: new Uint8Array(1000) }]);
    }
  }
  await truncate(join(folder, "data.mdb"), 40_960);
  const readAll = async (): Promise<void> => {
    await using storage = await openLmdbStorage({ folder });
    await storage.list("");
  };
  await expect(readAll()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("a folder that cannot be made is refused", async () => {
  const file = join(await newFolder(), "file");
  await writeFile(file, "");
  await expect(openLmdbStorage({ folder: join(file, "sub") })).rejects.toMatchObject({
    code: "STORAGE_UNWRITABLE",
  });
});
