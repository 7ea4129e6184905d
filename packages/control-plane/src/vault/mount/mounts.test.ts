import { RksError } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";

import type { BackendFactory } from "../backend.js";
import { anUnsealedVault, echoBackend } from "../testing/unsealed-vault.js";
import { openVault } from "../vault.js";

const backends = { echo: echoBackend };

test("a mount is listed and read in Vault's shape, tuned and gone again", async () => {
  await using subject = await anUnsealedVault({ backends });
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/a/b", {
    type: "echo",
    description: "mine",
    config: { default_lease_ttl: "1h", max_lease_ttl: 7200 },
  });
  const expected = {
    type: "echo",
    description: "mine",
    local: false,
    options: null,
    config: { default_lease_ttl: 3600, max_lease_ttl: 7200 },
  };
  expect((await vault.read(root, "sys/mounts"))?.data).toMatchObject({ "a/b/": expected });
  expect((await vault.read(root, "sys/mounts/a/b"))?.data).toMatchObject(expected);
  await vault.write(root, "sys/mounts/a/b/tune", { max_lease_ttl: "3h" });
  expect((await vault.read(root, "sys/mounts/a/b/tune"))?.data).toMatchObject({
    description: "mine",
    default_lease_ttl: 3600,
    max_lease_ttl: 10_800,
  });
  expect((await vault.read(root, "a/b/x"))?.data).toMatchObject({ ttls: { default: 3600, max: 10_800 } });
  await vault.delete(root, "sys/mounts/a/b");
  expect((await vault.read(root, "sys/mounts"))?.data).not.toHaveProperty("a/b/");
  await expect(vault.read(root, "a/b/x")).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test.each([1e12, "9000000h", -2, "-1h", "soon", {}, "1e3"])(
  "a mount with lifetimes of %s is refused",
  async (lifetime) => {
    await using subject = await anUnsealedVault({ backends });
    const { vault, root } = subject;
    const write = vault.write(root, "sys/mounts/a", {
      type: "echo",
      config: { default_lease_ttl: lifetime },
    });
    await expect(write).rejects.toMatchObject({ code: "INPUT_INVALID" });
  },
);

test("unmounting deletes what the engine stored and nothing else", async () => {
  await using subject = await anUnsealedVault({ backends });
  const { vault, root } = subject;
  for (const path of ["a", "b"]) {
    await vault.write(root, `sys/mounts/${path}`, { type: "echo" });
    for (let index = 0; index < 120; index += 1)
      await vault.write(root, `${path}/stored/${index}`, { index });
  }
  await vault.delete(root, "sys/mounts/a");
  expect((await vault.barrier.list("logical/")).entries).toHaveLength(120);
  await vault.write(root, "sys/mounts/a", { type: "echo" });
  expect((await vault.read(root, "a/x"))?.data).toMatchObject({ operation: "read" });
});

test.each([
  { name: "a path in use", path: "taken", type: "echo", code: "ALREADY_EXISTS" },
  { name: "a path below one in use", path: "taken/sub", type: "echo", code: "ALREADY_EXISTS" },
  { name: "a path above one in use", path: "deep", type: "echo", code: "ALREADY_EXISTS" },
  { name: "an unknown type", path: "x", type: "kv", code: "INPUT_INVALID" },
  { name: "a type that every object has", path: "x", type: "constructor", code: "INPUT_INVALID" },
  { name: "a system path", path: "sys/x", type: "echo", code: "INPUT_INVALID" },
  { name: "auth", path: "auth", type: "echo", code: "INPUT_INVALID" },
  { name: "a path with odd characters", path: "a b", type: "echo", code: "INPUT_INVALID" },
  { name: "a pattern", path: "a+", type: "echo", code: "INPUT_INVALID" },
  { name: "the cluster's own path", path: "rk8s-pki", type: "echo", code: "PERMISSION_DENIED" },
  { name: "a look-alike of it", path: "Rk8s-PKI", type: "echo", code: "PERMISSION_DENIED" },
  {
    name: "the cluster's own path twice",
    path: "rk8s-pki/rk8s-pki",
    type: "echo",
    code: "PERMISSION_DENIED",
  },
  { name: "a login method's path", path: "auth/x", type: "echo", code: "INPUT_INVALID" },
  { name: "a path below the cluster's own", path: "rk8s-pki/x", type: "echo", code: "PERMISSION_DENIED" },
])("mounting at $name is refused", async ({ path, type, code }) => {
  await using subject = await anUnsealedVault({ backends, reservedMounts: ["rk8s-pki/"] });
  await subject.vault.write(subject.root, "sys/mounts/taken", { type: "echo" });
  await subject.vault.write(subject.root, "sys/mounts/deep/er", { type: "echo" });
  await expect(subject.vault.write(subject.root, `sys/mounts/${path}`, { type })).rejects.toMatchObject({
    code,
  });
});

test("a default lifetime above the longest is refused", async () => {
  await using subject = await anUnsealedVault({ backends });
  const config = { default_lease_ttl: "2h", max_lease_ttl: "1h" };
  await expect(
    subject.vault.write(subject.root, "sys/mounts/a", { type: "echo", config }),
  ).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("of ten mounts at one path at once exactly one is made", async () => {
  await using subject = await anUnsealedVault({ backends });
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, () => subject.vault.write(subject.root, "sys/mounts/a", { type: "echo" })),
  );
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

test("a reserved mount serves, comes back, and not even root unmounts, tunes or replaces it", async () => {
  const init = { backends, reservedMounts: ["rk8s-pki/"] };
  const subject = await anUnsealedVault(init);
  const { vault, root, storage, share } = subject;
  await expect(vault.mountReserved("other", "echo")).rejects.toThrow(TypeError);
  await vault.mountReserved("rk8s-pki", "echo", { maxTtlSeconds: 60 });
  await vault.mountReserved("rk8s-pki/", "echo");
  const refused = { code: "PERMISSION_DENIED" };
  await expect(vault.delete(root, "sys/mounts/rk8s-pki")).rejects.toMatchObject(refused);
  await expect(vault.delete(root, "sys/mounts/rk8s-pki/")).rejects.toMatchObject(refused);
  await expect(vault.write(root, "sys/mounts/rk8s-pki/tune", { max_lease_ttl: "1h" })).rejects.toMatchObject(
    refused,
  );
  await expect(vault.write(root, "sys/mounts/rk8s-pki", { type: "echo" })).rejects.toMatchObject(refused);
  expect((await vault.read(root, "rk8s-pki/x"))?.data).toMatchObject({ ttls: { default: 60, max: 60 } });
  await vault.seal();
  await using again = await openVault({ ...init, storage }, { clock: new FakeClock() });
  await again.unseal(share);
  expect(again.backend("rk8s-pki").paths.match("open")).toBeDefined();
  expect(() => again.backend("nothing")).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
});

test("an engine's open paths need no token, and only those", async () => {
  await using subject = await anUnsealedVault({ backends });
  await subject.vault.write(subject.root, "sys/mounts/e", { type: "echo" });
  const read = async (path: string): Promise<unknown> =>
    (await subject.vault.handle({ operation: "read", path }))?.data?.["caller"];
  expect(await read("e/open")).toBeNull();
  expect(await read("e/open/x")).toBeNull();
  await expect(read("e/opened")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  await expect(read("e/x")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
});

test("writing what is not there needs create, what is there update", async () => {
  await using subject = await anUnsealedVault({ backends });
  const { vault, root, tokenWith } = subject;
  await vault.write(root, "sys/mounts/e", { type: "echo" });
  await vault.write(root, "sys/policies/acl/c", { policy: `path "e/*" { capabilities = ["create"] }` });
  const token = await tokenWith({ policies: ["c"] });
  expect((await vault.write(token, "e/stored/a", {}))?.data).toMatchObject({ operation: "create" });
  await expect(vault.write(token, "e/stored/a", {})).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
});

test("an engine that cannot be opened says why and does not keep the vault sealed", async () => {
  const subject = await anUnsealedVault({ backends });
  const { vault, root, storage, share } = subject;
  await vault.write(root, "sys/mounts/good", { type: "echo" });
  await vault.write(root, "sys/mounts/bad", { type: "echo" });
  await vault.seal();
  const failing: BackendFactory = (mount, barrier) =>
    mount.path === "bad/"
      ? Promise.reject(new RksError("STORAGE_CORRUPT", "the issuer is damaged"))
      : echoBackend(mount, barrier);
  await using again = await openVault({ storage, backends: { echo: failing } }, { clock: new FakeClock() });
  await again.unseal(share);
  expect((await again.read(root, "good/x"))?.data).toMatchObject({ operation: "read" });
  await expect(again.read(root, "bad/x")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await again.seal();
  await using without = await openVault({ storage }, { clock: new FakeClock() });
  await without.unseal(share);
  await expect(without.read(root, "good/x")).rejects.toMatchObject({ code: "UNSUPPORTED" });
});

test("a mount whose engine cannot be made is not left behind", async () => {
  const failing: BackendFactory = async (mount, barrier) => {
    await barrier.transaction(
      [],
      [{ type: "put", key: `${mount.storagePrefix}x`, value: new Uint8Array(1) }],
    );
    throw new RksError("INPUT_INVALID", "no");
  };
  await using subject = await anUnsealedVault({ backends: { failing } });
  await expect(subject.vault.write(subject.root, "sys/mounts/a", { type: "failing" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  expect((await subject.vault.read(subject.root, "sys/mounts"))?.data).not.toHaveProperty("a/");
  expect((await subject.vault.barrier.list("logical/")).entries).toEqual([]);
});
