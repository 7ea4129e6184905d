import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { linesUntilKilled } from "./harness/killed-writer.js";

const STORAGE = import.meta.resolve("@rk8s/storage/lmdb");

/**
 * Writes pairs for ever, eight transactions at a time, and says which are done. The halves of a pair are one
 * transaction, as are the counter and what it counts.
 */
const WRITER = `
  const { openLmdbStorage } = await import(${JSON.stringify(STORAGE)});
  const storage = await openLmdbStorage({ folder: process.argv[1] });
  const first = (await storage.list("left/")).entries.length;
  const write = async (id) => {
    const put = (key) => ({ type: "put", key, value: Buffer.alloc(500, id) });
    await storage.transaction([{ key: "left/" + id, modRevision: 0 }], [put("left/" + id), put("right/" + id)]);
    process.stdout.write(id + "\\n");
  };
  for (let id = Math.ceil(first / 8) * 8; id < 4000; id += 8) {
    await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((offset) => write(id + offset)));
  }
`;

const READER = `
  const { openLmdbStorage } = await import(${JSON.stringify(STORAGE)});
  const storage = await openLmdbStorage({ folder: process.argv[1] });
  const ids = async (prefix) => {
    const found = [];
    for (let after, more = true; more; ) {
      const page = await storage.list(prefix, after === undefined ? {} : { after });
      for (const { key, value } of page.entries) {
        const id = Number(key.slice(prefix.length));
        if (value.length !== 500 || value.some((byte) => byte !== id % 256)) throw new Error("wrong value at " + key);
        found.push(id);
      }
      after = page.entries.at(-1)?.key;
      more = page.more;
    }
    return found;
  };
  process.stdout.write(JSON.stringify({ left: await ids("left/"), right: await ids("right/") }));
`;

test("after kill -9 in the middle of writing, every acknowledged transaction is there and none is half there", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rks-kill-"));
  try {
    const acknowledged = new Set<number>();
    for (const killAfter of [1, 50, 150, 400]) {
      for (const id of await linesUntilKilled(WRITER, [folder], killAfter)) acknowledged.add(Number(id));
      const { left, right } = read(folder);
      expect(right).toEqual(left);
      expect([...acknowledged].filter((id) => !left.includes(id))).toEqual([]);
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(601);
  } finally {
    await rm(folder, { recursive: true });
  }
});

function read(folder: string): { readonly left: readonly number[]; readonly right: readonly number[] } {
  return JSON.parse(
    execFileSync(process.execPath, ["--input-type=module", "--eval", READER, folder]).toString(),
  ) as ReturnType<typeof read>;
}
