import { randomBytes } from "node:crypto";

import { systemClock } from "@rk8s/host";
import { collect } from "@rk8s/storage/testing";
import { expect, test } from "vitest";

import { openDatabase } from "./connection/database.js";
import { parseSqlTarget } from "./sql-target.js";
import { open, put, text } from "./testing/open.js";
import type { Database } from "./connection/database.js";
import type { SqlServer } from "./testing/sql-server.js";

/** What watchers can go back to, and what they are told when they cannot. */
export function historyTests(server: () => SqlServer): void {
  test("a watch goes on from where another process left off", async () => {
    const url = await server().newDatabase();
    {
      await using storage = await open(url);
      for (const value of ["1", "2", "3"]) await storage.transaction([], [put("w", value)]);
    }
    await using storage = await open(url);
    await storage.transaction([], [put("w", "4")]);
    expect((await collect(storage, "w", 2, 3)).map(({ value }) => text(value))).toEqual(["2", "3", "4"]);
  });

  test("changes that lie far back are forgotten, and who asks for them is told to list again", async () => {
    const url = await server().newDatabase();
    await using storage = await open(url);
    for (let index = 1; index <= 20; index += 1) await storage.transaction([], [put(`w/${index}`, "12345")]);
    await withTables(url, async (db) => {
      // As if 60,000 revisions had been made since the tenth.
      await db.updateTable("rk8s_changes").set({ revision: 60_000 }).where("revision", "=", 20).execute();
      await db.updateTable("rk8s_store").set({ revision: 60_000 }).execute();
    });
    expect(await storage.transaction([], [put("w/new", "67890")])).toEqual({
      succeeded: true,
      revision: 60_001,
    });
    await withTables(url, async (db) => {
      const { rows, bytes, oldest } = await logOf(db);
      expect(rows).toEqual([60_000, 60_001]);
      expect(bytes).toBe(10);
      expect(oldest).toBe(60_000);
    });
    expect((await collect(storage, "w/", 60_001, 1)).map(({ key }) => key)).toEqual(["w/new"]);
    await expect(collect(storage, "w/", 60_000, 1)).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(collect(storage, "w/", 5, 1)).rejects.toMatchObject({ code: "CONFLICT" });
    expect((await storage.list("w/")).entries).toHaveLength(21);
  });

  test("a large log is shortened to its bound, whole revisions at a time", async () => {
    const url = await server().newDatabase();
    await using storage = await open(url);
    for (let index = 1; index <= 6; index += 1) {
      await storage.transaction([], [put("a", new Uint8Array(1000)), put("b", new Uint8Array(1000))]);
    }
    await withTables(url, async (db) => {
      // As if everything before had been larger: 273 MiB, of which the first revisions account for 4000 bytes.
      await db
        .updateTable("rk8s_store")
        .set({ log_bytes: 256 * 1024 * 1024 + 3500 })
        .execute();
      await db
        .updateTable("rk8s_store")
        .set({ log_bytes: 272 * 1024 * 1024 + 1 })
        .execute();
    });
    await storage.transaction([], [put("c", "")]);
    await withTables(url, async (db) => {
      const { rows, bytes } = await logOf(db);
      // The sizes do not add up to the bound, so all but the newest revision went.
      expect(rows).toEqual([7]);
      expect(bytes).toBe(272 * 1024 * 1024 + 1 - 12_000);
    });
  });

  test("a watcher whose past was replaced is told, and so is one from the future", async () => {
    const url = await server().newDatabase();
    await using storage = await open(url);
    await storage.transaction([], [put("w", "1")]);
    const watch = storage.watch("w", 1, { signal: new AbortController().signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ revision: 1 });
    const next = watch.next();
    // Whoever polls may find the commit below before its writer hears of it.
    next.catch(() => undefined);
    await withTables(url, async (db) => {
      // A server that came back without its last commits, and was written to since.
      await db
        .updateTable("rk8s_changes")
        .set({ attempt: randomBytes(16) })
        .where("revision", "=", 1)
        .execute();
    });
    await storage.transaction([], [put("w", "2")]);
    await expect(next).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(collect(storage, "w", 4, 1)).rejects.toMatchObject({ code: "CONFLICT" });
  });
}

async function withTables(url: string, work: (db: Database) => Promise<void>): Promise<void> {
  const db = openDatabase(await parseSqlTarget({ url }), { maxSessions: 1, statementMs: 5000 }, systemClock);
  try {
    await work(db);
  } finally {
    await db.destroy();
  }
}

async function logOf(
  db: Database,
): Promise<{ readonly rows: number[]; readonly bytes: number; readonly oldest: number }> {
  const rows = await db.selectFrom("rk8s_changes").select("revision").orderBy("revision").execute();
  const store = await db.selectFrom("rk8s_store").select(["log_bytes", "oldest"]).executeTakeFirstOrThrow();
  return {
    rows: rows.map(({ revision }) => Number(revision)),
    bytes: Number(store.log_bytes),
    oldest: Number(store.oldest),
  };
}
