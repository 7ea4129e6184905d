import { RksError, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";

import { CrashingStorage, everyCrash } from "../testing/crashing-storage.js";
import { anUnsealedVault, echoBackend } from "../testing/unsealed-vault.js";
import { openVault } from "../vault.js";
import { Mounts, type MountsInit } from "./mounts.js";

const echo = { echo: echoBackend };
const init = { backends: echo, loginMethods: echo, reservedMounts: ["rk8s-pki/"] };

function open(storage: MountsInit["storage"], more: Partial<MountsInit> = {}): Promise<Mounts> {
  return Mounts.open({
    storage,
    engines: echo,
    loginMethods: echo,
    builtIn: () => [],
    reserved: ["rk8s-pki/"],
    logger: silentLogger,
    ...more,
  });
}

async function store(mounts: Mounts, path: string): Promise<void> {
  const target = mounts.route(path);
  const match = target?.backend.paths.match(target.path);
  await match?.entry.operations.update?.handle({
    operation: "update",
    path: target?.path ?? "",
    parameters: match.parameters,
    data: { x: 1 },
    caller: undefined,
    connection: {},
  });
}

test("a moved mount keeps accessor, identity and what it stored, and its old path serves nothing", async () => {
  const subject = await anUnsealedVault(init);
  const { vault, root, storage, share } = subject;
  await vault.write(root, "sys/mounts/a", { type: "echo", config: { max_lease_ttl: "3h" } });
  await vault.write(root, "a/stored/x", { value: 1 });
  const before = (await vault.read(root, "sys/mounts/a"))?.data;
  const answer = await vault.write(root, "sys/remount", { from: "/a/", to: "b/c" });
  const id = answer?.data?.["migration_id"];
  expect(await vault.read(root, `sys/remount/status/${String(id)}`)).toMatchObject({
    data: {
      migration_id: id,
      migration_info: { status: "success", source_mount: "a/", target_mount: "b/c/" },
    },
  });
  expect((await vault.read(root, "sys/mounts/b/c"))?.data).toEqual(before);
  expect((await vault.write(root, "b/c/stored/x", {}))?.data).toMatchObject({ operation: "update" });
  await expect(vault.read(root, "a/x")).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect(await vault.read(root, "sys/remount/status/unknown")).toBeUndefined();
  await vault.seal();
  await using again = await openVault({ storage, ...init }, { clock: new FakeClock() });
  await again.unseal(share);
  expect((await again.write(root, "b/c/stored/x", {}))?.data).toMatchObject({ operation: "update" });
});

test.each([
  { name: "a mount that is not there", from: "none", to: "b", code: "NOT_FOUND" },
  { name: "onto another", from: "a", to: "taken", code: "ALREADY_EXISTS" },
  { name: "above another", from: "a", to: "deep", code: "ALREADY_EXISTS" },
  { name: "below another", from: "a", to: "taken/x", code: "ALREADY_EXISTS" },
  { name: "onto itself", from: "a", to: "a", code: "ALREADY_EXISTS" },
  { name: "into itself", from: "a", to: "a/b", code: "ALREADY_EXISTS" },
  { name: "above itself", from: "deep/er", to: "deep", code: "ALREADY_EXISTS" },
  { name: "onto the cluster's own", from: "a", to: "rk8s-pki", code: "PERMISSION_DENIED" },
  { name: "below the cluster's own", from: "a", to: "rk8s-pki/x", code: "PERMISSION_DENIED" },
  { name: "onto a look-alike of it", from: "a", to: "RK8S-PKI", code: "PERMISSION_DENIED" },
  { name: "the cluster's own", from: "rk8s-pki", to: "mine", code: "PERMISSION_DENIED" },
  { name: "the cluster's own, with slashes", from: "//rk8s-pki//", to: "mine", code: "PERMISSION_DENIED" },
  { name: "the system", from: "sys", to: "mine", code: "INPUT_INVALID" },
  { name: "onto the system", from: "a", to: "sys", code: "INPUT_INVALID" },
  { name: "the tokens", from: "auth/token", to: "auth/x", code: "INPUT_INVALID" },
  { name: "a secrets engine to a login method", from: "a", to: "auth/a", code: "INPUT_INVALID" },
  { name: "a login method to a secrets engine", from: "auth/l", to: "l", code: "INPUT_INVALID" },
  { name: "to a path that climbs", from: "a", to: "../b", code: "INPUT_INVALID" },
  { name: "to an encoded slash", from: "a", to: "rk8s%2dpki", code: "INPUT_INVALID" },
])("moving $name is refused and changes nothing", async ({ from, to, code }) => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  await vault.mountReserved("rk8s-pki", "echo");
  for (const path of ["mounts/a", "mounts/taken", "mounts/deep/er", "auth/l"]) {
    await vault.write(root, `sys/${path}`, { type: "echo" });
  }
  const before = await vault.barrier.get("core/mounts");
  await expect(vault.write(root, "sys/remount", { from, to })).rejects.toMatchObject({ code });
  expect(await vault.barrier.get("core/mounts")).toEqual(before);
  expect((await vault.read(root, "a/x"))?.data).toMatchObject({ operation: "read" });
  expect((await vault.read(root, "rk8s-pki/x"))?.data).toMatchObject({ operation: "read" });
});

test("a login method moves to another path below auth/", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  await vault.write(root, "sys/auth/l", { type: "echo" });
  await vault.write(root, "sys/remount", { from: "auth/l", to: "auth/m" });
  const mounts = (await vault.read(root, "sys/auth"))?.data;
  expect(Object.keys(mounts ?? {})).toEqual(["m/", "token/"]);
});

test("of ten moves of one mount at once exactly one is made", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/a", { type: "echo" });
  const moves = Array.from({ length: 10 }, (_, index) =>
    vault.write(root, "sys/remount", { from: "a", to: `b${index}` }),
  );
  const results = await Promise.allSettled(moves);
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

test("a move that is killed at any moment leaves the mount at the old path or the new one, with everything", async () => {
  for (const crash of everyCrash(1)) {
    const storage = new CrashingStorage();
    const mounts = await open(storage);
    await mounts.enable("a", "echo", {});
    await store(mounts, "a/stored/x");
    storage.plan(crash);
    await expect(mounts.move("a", "b")).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
    const after = await open(storage.disk);
    expect(after.list().map(({ path }) => path)).toEqual([crash.written ? "b/" : "a/"]);
    expect((await storage.disk.list("logical/")).entries).toHaveLength(1);
  }
});

test("what a mount gave out is revoked before it moves, unreachable meanwhile; when that fails it stays", async () => {
  const storage = new CrashingStorage();
  const seen: unknown[] = [];
  let fault: RksError | undefined;
  const mounts: Mounts = await open(storage, {
    revokeAll: ({ path }, backend) => {
      let routed: unknown = "served";
      try {
        mounts.route("a/x");
      } catch (reason) {
        routed = reason instanceof RksError ? reason.code : reason;
      }
      seen.push([path, backend !== undefined, routed]);
      return fault === undefined ? Promise.resolve() : Promise.reject(fault);
    },
  });
  await mounts.enable("a", "echo", {});
  fault = new RksError("UNAVAILABLE", "the database is away");
  await expect(mounts.move("a", "b")).rejects.toThrow("the database is away");
  expect(mounts.route("a/x")?.entry.path).toBe("a/");
  fault = undefined;
  await mounts.move("a", "b");
  expect(seen).toEqual([
    ["a/", true, "UNAVAILABLE"],
    ["a/", true, "UNAVAILABLE"],
  ]);
});
