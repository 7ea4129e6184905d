import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";
import type { ExternalStoreConfig } from "../config/config.js";
import { settleSwitch, type Stayed } from "./settle-switch.js";
import type { StoreState, StoreStateOf } from "./store-state.js";

const THERE: ExternalStoreConfig = { type: "etcd", endpoints: ["https://there:2379"], prefix: "/rk8s" };
const here: StoreStateOf<"switching"> = {
  version: 1,
  state: "switching",
  vault: "v1",
  epoch: 4,
  moves: 2,
  at: "2026-11-22T12:00:00.000Z",
  migration: "m1",
  to: "there",
  entries: 0,
  digest: "d",
};
const onward = { migration: "m9", to: "elsewhere", entries: 0, digest: "d" };

/** Ask a store that says this of itself. */
async function ask(there: Partial<StoreState>): Promise<Stayed | undefined> {
  const storage = memoryStorage();
  const state = { version: 1, vault: "v1", epoch: 4, ...there };
  const value = Buffer.from(JSON.stringify({ state, term: 1, mac: "00" }));
  await storage.transaction([], [{ type: "put", key: "storage/state", value }]);
  return settleSwitch(here, [THERE], { openExternal: () => Promise.resolve(storage) });
}

// What a slow clock wrote is earlier than the switch, what a fast one wrote before it is later.
const EARLIER = "2020-01-01T00:00:00.000Z";
const LATER = "2031-01-01T00:00:00.000Z";

test.each<Partial<StoreState>>([
  { state: "active", moves: 3, at: EARLIER },
  { state: "leaving", moves: 3, at: EARLIER, ...onward },
  { state: "moved", moves: 3, at: EARLIER, ...onward },
  { state: "active", moves: 7, at: EARLIER },
  { state: "active", epoch: 5, at: EARLIER },
  { state: "active", migration: "m1", at: EARLIER },
])("became the vault, or went on from there: %o", async (there) => {
  expect(await ask(there)).toBeUndefined();
});

test.each<Partial<StoreState>>([
  { state: "moved", moves: 1, at: LATER, ...onward },
  { state: "moved", at: LATER, ...onward },
  { state: "active", moves: 2, at: LATER },
  { state: "active", epoch: 3, moves: 9, at: LATER },
  { state: "active", moves: 3, at: LATER, vault: "v2" },
  { state: "restoring", epoch: 5, at: LATER, restoredFrom: EARLIER },
  { state: "copying", at: LATER, migration: "m2", from: "here" },
])("tells of a time before the switch, or of something else: %o", async (there) => {
  await expect(ask(there)).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: expect.stringContaining("cannot be asked from here"),
  });
});

test("was still being filled by this very migration: the vault stayed", async () => {
  const there = { state: "copying", at: EARLIER, migration: "m1", from: "here" } as const;
  expect(await ask(there)).toMatchObject({ migration: "m1", evidence: { state: there } });
});
