import { systemClock } from "@rk8s/host";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { memoryStorage } from "../memory-storage.js";
import type { Comparison, Storage, Write } from "../storage.js";
import { EtcdCluster, hasEtcd } from "../testing/etcd.js";
import { openEtcdStorage } from "./etcd-storage.js";

const key = fc.constantFrom("a", "a/", "a/b", "b", "\ue000", "\u{1f600}", "é");
const step = fc.oneof(
  fc.record({ type: fc.constant("put" as const), key, value: fc.uint8Array({ maxLength: 20 }) }),
  fc.record({ type: fc.constant("delete" as const), key }),
);
const transaction = fc.record({
  /** What a comparison expects is said without revisions, because etcd's count more than one store's writes. */
  compare: fc.uniqueArray(fc.record({ key, expects: fc.constantFrom("none", "present", "older") }), {
    selector: (comparison) => comparison.key,
    maxLength: 2,
  }),
  writes: fc.uniqueArray(step, { selector: (write) => write.key, maxLength: 4 }),
});
/** Transactions of one group are asked for at once. */
const groups = fc.array(fc.array(transaction, { minLength: 1, maxLength: 4 }), {
  minLength: 1,
  maxLength: 8,
});

describe.skipIf(!hasEtcd())("against the memory adapter (needs etcd)", () => {
  test("etcd gives the same answers to any history", async () => {
    await using cluster = await EtcdCluster.start({ tls: false });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(groups, async (history) => {
        run += 1;
        await using memory = memoryStorage();
        const init = { endpoints: cluster.endpoints, prefix: `model/${run}`, clock: systemClock };
        await using etcd = await openEtcdStorage(init);
        await Promise.all([memory, etcd].map(takeFirstRevision));
        for (const group of history) {
          const ask = async (storage: Storage): Promise<boolean[]> => {
            const comparisons = await Promise.all(group.map(({ compare }) => meant(storage, compare)));
            const results = await Promise.all(
              group.map(({ writes }, index) =>
                storage.transaction(comparisons[index] ?? [], writes satisfies Write[]),
              ),
            );
            return results.map(({ succeeded }) => succeeded);
          };
          expect(await ask(etcd)).toEqual(await ask(memory));
          expect(await seen(etcd)).toEqual(await seen(memory));
        }
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});

/** One less than the first revision is 0, which means that there is nothing: no entry of a history may have it. */
async function takeFirstRevision(storage: Storage): Promise<void> {
  await storage.transaction([], [{ type: "put", key: "first", value: new Uint8Array() }]);
}

async function meant(
  storage: Storage,
  compare: readonly { readonly key: string; readonly expects: string }[],
): Promise<Comparison[]> {
  return Promise.all(
    compare.map(async ({ key: name, expects }) => {
      const modRevision = (await storage.get(name))?.modRevision ?? 0;
      if (expects === "none") return { key: name, modRevision: 0 };
      return { key: name, modRevision: expects === "present" ? modRevision : Math.max(0, modRevision - 1) };
    }),
  );
}

/** Everything that is stored, its revisions replaced by their order. */
async function seen(storage: Storage): Promise<unknown> {
  const { entries, more } = await storage.list("");
  const revisions = entries.flatMap(({ createRevision, modRevision }) => [createRevision, modRevision]);
  const ordered = [...new Set(revisions)].toSorted((a, b) => a - b);
  const page = await storage.list("a", { after: "a", limit: 1 });
  return {
    more,
    page: [page.more, page.entries.map((entry) => entry.key)],
    entries: entries.map(({ key: name, value, createRevision, modRevision }) => [
      name,
      Buffer.from(value).toString("hex"),
      ordered.indexOf(createRevision),
      ordered.indexOf(modRevision),
    ]),
  };
}
