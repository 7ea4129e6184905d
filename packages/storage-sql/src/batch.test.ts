import { memoryStorage } from "@rk8s/storage";
import fc from "fast-check";
import { expect, test } from "vitest";

import { decideBatch, keysOf } from "./batch.js";
import type { KeyState, Request } from "./batch.js";

const key = fc.constantFrom("a", "b", "c", "d");
const write = fc.oneof(
  fc.record({ type: fc.constant("put" as const), key, value: fc.uint8Array({ maxLength: 3 }) }),
  fc.record({ type: fc.constant("delete" as const), key }),
);
const request: fc.Arbitrary<Request> = fc.record({
  comparisons: fc.uniqueArray(fc.record({ key, modRevision: fc.integer({ min: 0, max: 8 }) }), {
    selector: (comparison) => comparison.key,
    maxLength: 2,
  }),
  writes: fc.uniqueArray(write, { selector: (one) => one.key, maxLength: 3 }),
});

test("a batch comes to what the storage in memory makes of its transactions one by one", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(request, { maxLength: 5 }), { maxLength: 5 }), async (batches) => {
      await using memory = memoryStorage();
      const states = new Map<string, KeyState>();
      const values = new Map<string, Uint8Array>();
      let revision = 0;
      for (const batch of batches) {
        const needed = new Map([...states].filter(([name]) => keysOf(batch).has(name)));
        const outcome = decideBatch(batch, needed, revision);
        for (const [index, { comparisons, writes }] of batch.entries()) {
          expect(outcome.results[index]).toEqual(await memory.transaction(comparisons, writes));
        }
        const logged = outcome.changes.map((change) => change.revision);
        expect(logged).toEqual(logged.toSorted((a, b) => a - b));
        expect(new Set(logged).size).toBe(outcome.revision - revision);
        revision = outcome.revision;
        for (const [name, entry] of outcome.entries) {
          if (entry === undefined) {
            states.delete(name);
            values.delete(name);
          } else {
            states.set(name, entry);
            values.set(name, entry.value);
          }
        }
        const { entries } = await memory.list("");
        expect(entries.map((entry) => [entry.key, entry.createRevision, entry.modRevision])).toEqual(
          [...states]
            .toSorted(([a], [b]) => (a < b ? -1 : 1))
            .map(([name, state]) => [name, state.createRevision, state.modRevision]),
        );
        for (const entry of entries) expect(values.get(entry.key)).toEqual(entry.value);
      }
    }),
    { numRuns: 200 },
  );
});
