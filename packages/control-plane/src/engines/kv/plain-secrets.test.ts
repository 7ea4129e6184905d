import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";

import { anUnsealedVault, type TestVault } from "../../vault/testing/unsealed-vault.js";
import { kvBackend } from "./kv-backend.js";

async function aVaultWithSecrets(): Promise<TestVault> {
  const backends = { kv: kvBackend({ clock: Date }) };
  const kv = await anUnsealedVault({ backends, storage: memoryStorage() });
  await kv.vault.write(kv.root, "sys/mounts/secret", { type: "kv" });
  return kv;
}

test("what was written is read, replaced as a whole and deleted", async () => {
  await using kv = await aVaultWithSecrets();
  const { vault, root } = kv;
  expect(await vault.read(root, "secret/app")).toBeUndefined();
  expect(await vault.write(root, "secret/app", { user: "a", deep: { list: [1, null] } })).toBeUndefined();
  expect((await vault.read(root, "secret/app"))?.data).toEqual({ user: "a", deep: { list: [1, null] } });
  await vault.write(root, "secret/app", { password: "b" });
  expect((await vault.read(root, "secret/app"))?.data).toEqual({ password: "b" });
  expect(await vault.delete(root, "secret/app")).toBeUndefined();
  expect(await vault.delete(root, "secret/app")).toBeUndefined();
  expect(await vault.read(root, "secret/app")).toBeUndefined();
});

test("folders are listed with a slash, in order, and a secret may have the name of a folder", async () => {
  await using kv = await aVaultWithSecrets();
  const { vault, root } = kv;
  for (const path of ["b/1", "b/2/x", "b", "a", "b-c", "b.d", "ü/ö", "z/\u{10ffff}"]) {
    await vault.write(root, `secret/${path}`, { v: 1 });
  }
  expect((await vault.list(root, "secret/"))?.data).toEqual({
    keys: ["a", "b", "b-c", "b.d", "b/", "z/", "ü/"],
  });
  expect((await vault.list(root, "secret/b/"))?.data).toEqual({ keys: ["1", "2/"] });
  expect((await vault.list(root, "secret/z"))?.data).toEqual({ keys: ["\u{10ffff}"] });
  expect(await vault.list(root, "secret/nothing")).toBeUndefined();
  expect(await vault.list(root, "secret/a")).toBeUndefined();
  const all = await vault.handle({ operation: "scan", path: "secret/", clientToken: root });
  expect(all?.data).toEqual({
    keys: ["a", "b", "b-c", "b.d", "b/1", "b/2/x", "z/\u{10ffff}", "ü/ö"],
  });
});

test("a listing goes on after a name and stops at a limit", async () => {
  await using kv = await aVaultWithSecrets();
  const { vault, root } = kv;
  await Promise.all(
    Array.from({ length: 150 }, (_, index) =>
      vault.write(root, `secret/folder${index % 3}/${index}`, { v: index }),
    ),
  );
  const list = async (data: object): Promise<unknown> =>
    (await vault.list(root, "secret/", { ...data }))?.data;
  expect(await list({})).toEqual({ keys: ["folder0/", "folder1/", "folder2/"] });
  expect(await list({ limit: 2 })).toEqual({ keys: ["folder0/", "folder1/"] });
  expect(await list({ after: "folder0/", limit: "1" })).toEqual({ keys: ["folder1/"] });
  expect(await list({ after: "folder2/" })).toBeUndefined();
});

test.each([
  { name: "no fields", path: "secret/x", data: {} },
  { name: "no path", path: "secret", data: { a: 1 } },
  { name: "more than a storage entry holds", path: "secret/x", data: { a: "x".repeat(1_500_000) } },
])("$name is refused", async ({ path, data }) => {
  await using kv = await aVaultWithSecrets();
  await expect(kv.vault.write(kv.root, path, data)).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a secret that is nested too deep is refused and does not harm", async () => {
  await using kv = await aVaultWithSecrets();
  let deep: Record<string, unknown> = {};
  for (let level = 0; level < 100_000; level += 1) deep = { deep };
  await expect(kv.vault.write(kv.root, "secret/x", { deep })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("creating and updating are told apart for the policies", async () => {
  await using kv = await aVaultWithSecrets();
  const { vault, root } = kv;
  const policy = `path "secret/*" { capabilities = ["create"] }`;
  await vault.write(root, "sys/policies/acl/once", { policy });
  const token = await kv.tokenWith({ policies: ["once"] });
  await vault.write(token, "secret/x", { v: 1 });
  await expect(vault.write(token, "secret/x", { v: 2 })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
});

test("secrets of two mounts are apart, and unmounting deletes them", async () => {
  await using kv = await aVaultWithSecrets();
  const { vault, root, storage } = kv;
  await vault.write(root, "sys/mounts/other", { type: "kv" });
  await vault.write(root, "secret/x", { v: 1 });
  expect(await vault.read(root, "other/x")).toBeUndefined();
  await vault.delete(root, "sys/mounts/secret");
  const left = (await storage.list("barrier/logical/")).entries.filter(({ key }) => key.endsWith("/x"));
  expect(left).toEqual([]);
});
