import { RksError, silentLogger } from "@rk8s/protocol";
import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";

import { CrashingStorage, everyCrash } from "../testing/crashing-storage.js";
import { echoBackend } from "../testing/unsealed-vault.js";
import { readMountTable } from "./mount-table.js";
import { Mounts, type MountsInit } from "./mounts.js";

function open(storage: MountsInit["storage"], more: Partial<MountsInit> = {}): Promise<Mounts> {
  return Mounts.open({
    storage,
    engines: { echo: echoBackend },
    loginMethods: {},
    builtIn: () => [],
    reserved: [],
    logger: silentLogger,
    ...more,
  });
}

async function fill(storage: MountsInit["storage"], mounts: Mounts, path: string): Promise<void> {
  const prefix = `logical/${mounts.find(path)?.uuid ?? ""}/`;
  for (let index = 0; index < 250; index += 1) {
    const write = { type: "put", key: `${prefix}${index}`, value: new Uint8Array(1) } as const;
    await storage.transaction([], [write]);
  }
}

test("an unmounting that is killed at any moment is finished at the next unseal, or never began", async () => {
  const rehearsal = new CrashingStorage();
  const rehearsed = await open(rehearsal);
  await rehearsed.enable("a", "echo", {});
  await fill(rehearsal, rehearsed, "a");
  rehearsal.plan(undefined);
  await rehearsed.disable("a");
  expect(rehearsal.transactions).toBeGreaterThan(4);
  for (const crash of everyCrash(rehearsal.transactions)) {
    const storage = new CrashingStorage();
    const mounts = await open(storage);
    await mounts.enable("a", "echo", {});
    await mounts.enable("b", "echo", {});
    await fill(storage, mounts, "a");
    await fill(storage, mounts, "b");
    storage.plan(crash);
    await expect(mounts.disable("a")).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
    const after = await open(storage.disk);
    const hasBegun = crash.at > 1 || crash.written;
    expect(after.list().map(({ path }) => path)).toEqual(hasBegun ? ["b/"] : ["a/", "b/"]);
    expect((await storage.disk.list("logical/")).entries).toHaveLength(hasBegun ? 250 : 500);
    expect((await readMountTable(storage.disk)).mounts).toHaveLength(hasBegun ? 1 : 2);
  }
});

test("what could not be revoked keeps the rest; the path is closed, and asking again finishes it", async () => {
  const storage = memoryStorage();
  let fault: RksError | undefined = new RksError("UNAVAILABLE", "the database is away");
  const revoked: (string | boolean)[] = [];
  const revokeAll: MountsInit["revokeAll"] = ({ path }, backend) => {
    revoked.push(path, backend !== undefined);
    return fault === undefined ? Promise.resolve() : Promise.reject(fault);
  };
  const mounts = await open(storage, { revokeAll });
  await mounts.enable("a", "echo", {});
  await fill(storage, mounts, "a");
  await expect(mounts.disable("a")).rejects.toThrow("the database is away");
  expect(mounts.route("a/x")).toBeUndefined();
  expect((await storage.list("logical/")).entries).toHaveLength(250);
  // Other changes do not forget it.
  await mounts.enable("b", "echo", {});
  const restarted = await open(storage, { revokeAll });
  expect(restarted.list().map(({ path }) => path)).toEqual(["b/"]);
  expect((await storage.list("logical/")).entries).toHaveLength(250);
  fault = undefined;
  await restarted.disable("a");
  expect((await storage.list("logical/")).entries).toEqual([]);
  expect((await readMountTable(storage)).mounts).toHaveLength(1);
  expect(revoked).toEqual(["a/", true, "a/", true, "a/", true]);
});

test("a path whose unmounting is not finished can be mounted again, and both stay apart", async () => {
  const storage = memoryStorage();
  let fails = true;
  const mounts = await open(storage, {
    revokeAll: () => (fails ? Promise.reject(new RksError("UNAVAILABLE", "no")) : Promise.resolve()),
  });
  await mounts.enable("a", "echo", {});
  const first = mounts.find("a")?.uuid;
  await expect(mounts.disable("a")).rejects.toThrow("no");
  await mounts.enable("a", "echo", {});
  await fill(storage, mounts, "a");
  fails = false;
  const restarted = await open(storage);
  expect(restarted.find("a")?.uuid).not.toBe(first);
  expect((await storage.list("logical/")).entries).toHaveLength(250);
  expect((await readMountTable(storage)).mounts).toHaveLength(1);
});

test("of 300 mounts 256 are made, the rest refused, and unmounting one makes room", async () => {
  const mounts = await open(memoryStorage());
  const made = await Promise.allSettled(
    Array.from({ length: 300 }, (_, index) => mounts.enable(`m${index}`, "echo", {})),
  );
  expect(made.filter(({ status }) => status === "fulfilled")).toHaveLength(256);
  await mounts.disable("m7");
  await mounts.enable("again", "echo", {});
  expect(mounts.list()).toHaveLength(256);
});

test("a mount written by older code is read with defaults for what it did not know", async () => {
  const storage = memoryStorage();
  const old = {
    path: "a/",
    type: "echo",
    uuid: "u",
    accessor: "echo_1",
    description: "old",
    defaultTtlSeconds: 0,
    maxTtlSeconds: 60,
    removing: false,
  };
  const value = Buffer.from(JSON.stringify({ version: 1, mounts: [old] }));
  await storage.transaction([], [{ type: "put", key: "core/mounts", value }]);
  const mounts = await open(storage);
  expect(mounts.find("a")).toEqual({
    ...old,
    options: {},
    local: false,
    sealWrap: false,
    forceNoCache: false,
    listingVisibility: "",
    tokenType: "default-service",
  });
});
