import { memoryStorage, type Storage } from "@rk8s/storage";
import fc from "fast-check";
import { expect, test } from "vitest";
import { crlEntryOf, entriesSince } from "./crl-entries.js";
import { type Revocation, RevocationStore } from "./revocation-store.js";

const CRL = "0123456789abcdef0123456789abcdef";

function aRevocation(serialNumber: string, change: Partial<Revocation> = {}): Revocation {
  return { serialNumber, notAfterMs: 2e12, crlId: CRL, issuerId: "", nowMs: 1.8e12, ...change };
}

/** All entries of a list, as one text. */
async function entries(store: RevocationStore, crlId = CRL): Promise<string> {
  const { shards } = await store.entriesOf(crlId);
  return shards.map(({ bytes }) => Buffer.from(bytes).toString("hex")).join("");
}

function expected(serialNumbers: readonly string[]): string {
  return serialNumbers
    .map((serialNumber) => Buffer.from(crlEntryOf({ serialNumber, revokedAtMs: 1.8e12 })).toString("hex"))
    .join("");
}

/** A store whose transactions wait for the test. */
function aSlowStorage(): { readonly storage: Storage; readonly go: () => void } {
  const inner = memoryStorage();
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const storage: Storage = {
    get: (key) => inner.get(key),
    list: (prefix, range) => inner.list(prefix, range),
    transaction: async (comparisons, writes) => {
      await gate;
      return inner.transaction(comparisons, writes);
    },
    watch: (...parameters) => inner.watch(...parameters),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
  return { storage, go };
}

test("closing waits for the revocation that is being written and refuses those behind it", async () => {
  const { storage, go } = aSlowStorage();
  const store = new RevocationStore(storage, "p/");
  const first = store.revoke(aRevocation("41"));
  await new Promise((resolve) => setImmediate(resolve));
  const second = store.revoke(aRevocation("42"));
  const outcome = Promise.allSettled([second]);
  const order: string[] = [];
  const closing = (async () => {
    await store.close();
    order.push("closed");
  })();
  await new Promise((resolve) => setImmediate(resolve));
  order.push("written");
  go();
  await closing;
  expect(order).toEqual(["written", "closed"]);
  expect(await first).toMatchObject({ serialNumber: "41" });
  expect(await outcome).toMatchObject([{ status: "rejected", reason: { code: "UNAVAILABLE" } }]);
  const again = new RevocationStore(storage, "p/");
  expect(await entries(again)).toBe(expected(["41"]));
});

test("a failed transaction refuses everybody who shared it, and the store goes on", async () => {
  const inner = memoryStorage();
  let fails = true;
  const storage: Storage = {
    get: (key) => inner.get(key),
    list: (prefix, range) => inner.list(prefix, range),
    transaction: (comparisons, writes) =>
      fails ? Promise.reject(new Error("no disk")) : inner.transaction(comparisons, writes),
    watch: (...parameters) => inner.watch(...parameters),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
  const store = new RevocationStore(storage, "p/");
  const outcomes = await Promise.allSettled(["41", "42"].map((serial) => store.revoke(aRevocation(serial))));
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  fails = false;
  await store.revoke(aRevocation("43"));
  expect(await entries(store)).toBe(expected(["43"]));
});

test("a serial number that is contained in the bytes of others is taken out alone", async () => {
  const store = new RevocationStore(memoryStorage(), "p/");
  const inside = Buffer.from(crlEntryOf({ serialNumber: "41", revokedAtMs: 1.8e12 })).toString("hex");
  const outside = `42${inside}`;
  for (const serial of [outside, "41", "43"]) await store.revoke(aRevocation(serial));
  expect(await store.remove(["41"])).toBe(1);
  expect(await entries(store)).toBe(expected([outside, "43"]));
});

test("whatever is revoked and removed in any order, lists, records and a new store agree", async () => {
  const serial = fc.integer({ min: 1, max: 40 }).map((n) => `40${n.toString(16).padStart(38, "0")}`);
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("revoke" as const), serials: fc.array(serial) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("remove" as const), serials: fc.array(serial) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const storage = memoryStorage();
      const store = new RevocationStore(storage, "p/");
      let removed = 0;
      let expectedRemoved = 0;
      const revoked = new Set<string>();
      let base = await store.entriesOf(CRL);
      let added: string[] = [];
      for (const { kind, serials } of steps) {
        const asked = [...new Set(serials)];
        const there = asked.filter((one) => revoked.has(one));
        if (kind === "revoke") {
          await Promise.all(serials.map((one) => store.revoke(aRevocation(one))));
          added.push(...asked.filter((one) => !revoked.has(one)));
          for (const one of asked) revoked.add(one);
        } else {
          removed += await store.remove(asked);
          expectedRemoved += there.length;
          for (const one of there) revoked.delete(one);
          base = await store.entriesOf(CRL);
          added = [];
        }
        const since = entriesSince(base, await store.entriesOf(CRL));
        expect(Buffer.concat(since ?? []).toString("hex")).toBe(expected(added));
      }
      expect(removed).toBe(expectedRemoved);
      expect(await entries(store)).toBe(expected([...revoked]));
      expect(await entries(new RevocationStore(storage, "p/"))).toBe(expected([...revoked]));
      const { records } = await store.list();
      expect(records.map(({ serialNumber }) => serialNumber)).toEqual([...revoked].toSorted());
    }),
    { numRuns: 60 },
  );
});

test("a list over many parts loses nothing when parts in the middle are removed", async () => {
  const storage = memoryStorage();
  const store = new RevocationStore(storage, "p/");
  const serials = Array.from({ length: 700 }, (_, i) => `40${i.toString(16).padStart(38, "0")}`);
  await Promise.all(serials.map((one) => store.revoke(aRevocation(one))));
  expect((await store.entriesOf(CRL)).shards.length).toBeGreaterThan(2);
  expect(await store.remove(serials.slice(150, 550))).toBe(400);
  const last = "41";
  await store.revoke(aRevocation(last));
  const left = expected([...serials.slice(0, 150), ...serials.slice(550), last]);
  expect(await entries(store)).toBe(left);
  expect(await entries(new RevocationStore(storage, "p/"))).toBe(left);
});
