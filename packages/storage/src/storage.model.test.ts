import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openLmdbStorage } from "./lmdb/lmdb-storage.js";
import { memoryStorage } from "./memory-storage.js";
import type { Comparison, Write } from "./storage.js";

const key = fc.constantFrom("a", "a/", "a/b", "b", "\ue000", "\u{1f600}", "é");
const step = fc.oneof(
  fc.record({ type: fc.constant("put" as const), key, value: fc.uint8Array({ maxLength: 20 }) }),
  fc.record({ type: fc.constant("delete" as const), key }),
);
const transaction = fc.record({
  compare: fc.uniqueArray(fc.record({ key, modRevision: fc.integer({ min: 0, max: 6 }) }), {
    selector: (comparison) => comparison.key,
    maxLength: 1,
  }),
  writes: fc.uniqueArray(step, { selector: (write) => write.key, maxLength: 4 }),
});
/** Transactions of one group are asked for at once. */
const groups = fc.array(fc.array(transaction, { minLength: 1, maxLength: 4 }), {
  minLength: 1,
  maxLength: 8,
});

test("memory and LMDB give the same answers to any history", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rks-model-"));
  let run = 0;
  try {
    await fc.assert(
      fc.asyncProperty(groups, async (history) => {
        run += 1;
        await using memory = memoryStorage();
        await using lmdb = await openLmdbStorage({ folder: join(folder, String(run)) });
        for (const group of history) {
          const ask = (storage: typeof memory): Promise<unknown> =>
            Promise.all(
              group.map(({ compare, writes }) =>
                storage.transaction(compare satisfies Comparison[], writes satisfies Write[]),
              ),
            );
          expect(await ask(lmdb)).toEqual(await ask(memory));
          expect(await lmdb.list("")).toEqual(await memory.list(""));
          expect(await lmdb.list("a", { after: "a", limit: 1 })).toEqual(
            await memory.list("a", { after: "a", limit: 1 }),
          );
        }
      }),
      { numRuns: 40 },
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
