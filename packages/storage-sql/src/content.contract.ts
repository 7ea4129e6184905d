import { memoryStorage } from "@rk8s/storage";
import type { Comparison, Storage, Write } from "@rk8s/storage";
import { collect } from "@rk8s/storage/testing";
import fc from "fast-check";
import { expect, test } from "vitest";

import { open, put } from "./testing/open.js";
import type { SqlServer } from "./testing/sql-server.js";

/** As `assertTransaction` allows: the limit, and what the barrier adds. */
const LARGEST_VALUE = 1_500_064;

/** What can be stored, and that it comes back. */
export function contentTests(server: () => SqlServer): void {
  test("keys of any characters are kept apart and listed in the order of their bytes", async () => {
    await using storage = await open(await server().newDatabase());
    const hostile = [
      "\u0000",
      "'",
      '"',
      "\\",
      "\\'",
      "%",
      "_",
      "a",
      "A",
      "á",
      "a ",
      "a\u0000",
      "; drop",
      "\u{10ffff}",
    ];
    const any = fc.sample(fc.string({ unit: "binary", minLength: 1, maxLength: 40 }), {
      numRuns: 100,
      seed: 1,
    });
    const keys = [...new Set([...hostile, ...any])];
    for (let start = 0; start < keys.length; start += 100) {
      const part = keys.slice(start, start + 100);
      await storage.transaction(
        [],
        part.map((key) => put(key, key)),
      );
    }
    const { entries } = await storage.list("");
    const ordered = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(entries.map(({ key }) => key)).toEqual(ordered);
    const read = await Promise.all(keys.map((key) => storage.get(key)));
    expect(read.map((entry) => Buffer.from(entry?.value ?? []).toString())).toEqual(keys);
  });

  test("values of any bytes up to the limit come back", async () => {
    await using storage = await open(await server().newDatabase());
    const everyByte = Uint8Array.from({ length: 512 }, (_, index) => index % 256);
    const largest = new Uint8Array(LARGEST_VALUE).map((_, index) => (index * 31) % 251);
    await storage.transaction([], [put("bytes", everyByte), put("largest", largest), put("none", "")]);
    expect((await storage.get("bytes"))?.value).toEqual(everyByte);
    expect(Buffer.compare((await storage.get("largest"))?.value ?? new Uint8Array(), largest)).toBe(0);
    expect((await storage.get("none"))?.value).toEqual(new Uint8Array());
  });

  test("eight of the largest values at once are stored, listed and watched", async () => {
    await using storage = await open(await server().newDatabase());
    const large = Array.from({ length: 8 }, (_, index) => new Uint8Array(LARGEST_VALUE).fill(index));
    await Promise.all(large.map((value, index) => storage.transaction([], [put(`large/${index}`, value)])));
    const { entries } = await storage.list("large/");
    expect(entries.every(({ value }, index) => Buffer.compare(value, large[index] ?? value) === 0)).toBe(
      true,
    );
    const seen = await collect(storage, "large/", 1, 8);
    expect(seen.map(({ value }) => [value?.byteLength, value?.[7]])).toEqual(
      large.map((value, index) => [value.byteLength, index]),
    );
  });

  test("any history gets the same answers as from the storage in memory", async () => {
    await fc.assert(
      fc.asyncProperty(histories, async (history) => {
        await using memory = memoryStorage();
        await using storage = await open(await server().newDatabase());
        for (const group of history) {
          expect(await answers(storage, group)).toEqual(await answers(memory, group));
          expect(await storage.list("")).toEqual(await memory.list(""));
          expect(await storage.list("a", { after: "a", limit: 1 })).toEqual(
            await memory.list("a", { after: "a", limit: 1 }),
          );
        }
      }),
      { numRuns: 8 },
    );
  });
}

interface Asked {
  readonly compare: Comparison[];
  readonly writes: Write[];
}

/** Transactions of one group are asked for at once. */
function answers(storage: Storage, group: readonly Asked[]): Promise<unknown> {
  return Promise.all(group.map(({ compare, writes }) => storage.transaction(compare, writes)));
}

const key = fc.constantFrom("a", "a/", "a/b", "b", "\ue000", "\u{1f600}", "é");
const write = fc.oneof(
  fc.record({ type: fc.constant("put" as const), key, value: fc.uint8Array({ maxLength: 20 }) }),
  fc.record({ type: fc.constant("delete" as const), key }),
);
const asked: fc.Arbitrary<Asked> = fc.record({
  compare: fc.uniqueArray(fc.record({ key, modRevision: fc.integer({ min: 0, max: 6 }) }), {
    selector: (comparison) => comparison.key,
    maxLength: 1,
  }),
  writes: fc.uniqueArray(write, { selector: (one) => one.key, maxLength: 4 }),
});
const histories = fc.array(fc.array(asked, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 });
