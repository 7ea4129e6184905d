import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";

import type { VaultAnswer } from "../../vault/request.js";
import type { JsonObject, Operation } from "../../vault/backend.js";
import { anUnsealedVault, type TestVault } from "../../vault/testing/unsealed-vault.js";
import { kvBackend } from "./kv-backend.js";

interface SecretsTest extends TestVault {
  readonly ask: (operation: Operation, path: string, data?: JsonObject) => Promise<VaultAnswer | undefined>;
  readonly data: (operation: Operation, path: string, data?: JsonObject) => Promise<unknown>;
}

const START = "2027-01-15T08:00:00.000Z";
const meta = (version: number, more: object = {}): object => ({
  created_time: START,
  custom_metadata: null,
  deletion_time: "",
  destroyed: false,
  version,
  ...more,
});

async function aVersionedVault(): Promise<SecretsTest> {
  const clock = {
    nowMs: Date.parse(START),
    now(): number {
      return this.nowMs;
    },
  };
  const backends = { kv: kvBackend({ clock }) };
  const vaultTest = await anUnsealedVault({ backends, storage: memoryStorage() });
  const { vault, root } = vaultTest;
  await vault.write(root, "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  const ask: SecretsTest["ask"] = (operation, path, data) =>
    vault.answer({ operation, path: `secret/${path}`, data, clientToken: root });
  return {
    ...vaultTest,
    advanceSeconds: (seconds) => {
      clock.nowMs += seconds * 1000;
    },
    ask,
    data: async (...asked) => (await ask(...asked))?.response.data,
    [Symbol.asyncDispose]: () => vaultTest[Symbol.asyncDispose](),
  };
}

const write = (kv: SecretsTest, data: JsonObject, options?: JsonObject): Promise<unknown> =>
  kv.data("update", "data/app", { data, ...(options === undefined ? {} : { options }) });

test("every write makes a version, and each can be read", async () => {
  await using kv = await aVersionedVault();
  expect(await kv.ask("read", "data/app")).toBeUndefined();
  expect(await write(kv, { a: 1 })).toEqual(meta(1));
  expect(await write(kv, { a: 2 })).toEqual(meta(2));
  expect(await kv.data("read", "data/app")).toEqual({ data: { a: 2 }, metadata: meta(2) });
  expect(await kv.data("read", "data/app", { version: "1" })).toEqual({
    data: { a: 1 },
    metadata: meta(1),
  });
  expect(await kv.data("read", "data/app", { version: 0 })).toMatchObject({ data: { a: 2 } });
  expect(await kv.ask("read", "data/app", { version: 3 })).toBeUndefined();
  expect(await kv.data("read", "metadata/app")).toEqual({
    cas_required: false,
    created_time: START,
    current_version: 2,
    custom_metadata: null,
    delete_version_after: "0s",
    max_versions: 0,
    oldest_version: 1,
    updated_time: START,
    versions: {
      "1": { created_time: START, deletion_time: "", destroyed: false },
      "2": { created_time: START, deletion_time: "", destroyed: false },
    },
  });
});

test("a deleted version answers 404 and says when it was deleted; it can be undeleted", async () => {
  await using kv = await aVersionedVault();
  await write(kv, { a: 1 });
  await write(kv, { a: 2 });
  kv.advanceSeconds(60);
  const deleted = meta(2, { deletion_time: "2027-01-15T08:01:00.000Z" });
  expect(await kv.ask("delete", "data/app")).toBeUndefined();
  const answer = await kv.ask("read", "data/app");
  expect(answer).toMatchObject({ status: 404, response: { data: { data: null, metadata: deleted } } });
  expect(await kv.data("read", "data/app", { version: 1 })).toMatchObject({ data: { a: 1 } });
  kv.advanceSeconds(60);
  await kv.ask("update", "delete/app", { versions: [2, "1", 7] });
  expect((await kv.ask("read", "data/app"))?.response.data).toEqual({ data: null, metadata: deleted });
  expect((await kv.ask("read", "data/app", { version: 1 }))?.status).toBe(404);
  await kv.ask("update", "undelete/app", { versions: "1,2" });
  expect(await kv.data("read", "data/app")).toEqual({ data: { a: 2 }, metadata: meta(2) });
});

test("a destroyed version is gone from the storage and stays gone", async () => {
  await using kv = await aVersionedVault();
  await write(kv, { a: 1 });
  await write(kv, { a: 2 });
  await kv.ask("update", "destroy/app", { versions: [1, 9] });
  await kv.ask("update", "undelete/app", { versions: [1] });
  const answer = await kv.ask("read", "data/app", { version: 1 });
  expect(answer).toMatchObject({
    status: 404,
    response: { data: { data: null, metadata: meta(1, { destroyed: true }) } },
  });
  const stored = (await kv.storage.list("barrier/logical/")).entries.map(({ key }) => key);
  expect(stored.filter((key) => key.includes("/data/")).map((key) => key.replace(/.*\/data/, ""))).toEqual([
    "/2/app",
  ]);
});

test.each([{ operation: "delete" }, { operation: "undelete" }, { operation: "destroy" }])(
  "$operation wants version numbers, and nothing there is nothing to do",
  async ({ operation }) => {
    await using kv = await aVersionedVault();
    expect(await kv.ask("update", `${operation}/app`, { versions: [1] })).toBeUndefined();
    expect(await kv.ask("read", "metadata/app")).toBeUndefined();
    for (const versions of [undefined, [], ["x"], [0], [1.5], { 1: 1 }, Array(1001).fill(1)]) {
      await expect(kv.ask("update", `${operation}/app`, { versions })).rejects.toMatchObject({
        code: "INPUT_INVALID",
      });
    }
  },
);

test("check-and-set lets only the writer through who knows the current version", async () => {
  await using kv = await aVersionedVault();
  const refused = { code: "INPUT_INVALID", message: expect.stringMatching(/^check-and-set/) as string };
  await expect(write(kv, { a: 1 }, { cas: 1 })).rejects.toMatchObject(refused);
  expect(await write(kv, { a: 1 }, { cas: 0 })).toEqual(meta(1));
  await expect(write(kv, { a: 2 }, { cas: 0 })).rejects.toMatchObject(refused);
  expect(await write(kv, { a: 2 }, { cas: "1" })).toEqual(meta(2));
  await kv.ask("update", "metadata/app", { cas_required: true });
  await expect(write(kv, { a: 3 })).rejects.toMatchObject(refused);
  await expect(write(kv, { a: 3 }, { cas: "x" })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await kv.ask("update", "config", { cas_required: true });
  await expect(kv.ask("update", "data/other", { data: { a: 1 }, options: {} })).rejects.toMatchObject(
    refused,
  );
  expect(await kv.data("read", "data/app")).toMatchObject({ data: { a: 2 } });
});

test("of many writers with one check-and-set exactly one wins; without it all do", async () => {
  await using kv = await aVersionedVault();
  const writers = Array.from({ length: 50 }, (_, index) => index);
  const results = await Promise.allSettled(writers.map((a) => write(kv, { a }, { cas: 0 })));
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  await Promise.all(writers.map((a) => write(kv, { a })));
  expect(await kv.data("read", "metadata/app")).toMatchObject({ current_version: 51, oldest_version: 42 });
});

test("only the newest versions are kept", async () => {
  await using kv = await aVersionedVault();
  for (let a = 1; a <= 12; a += 1) await write(kv, { a });
  expect(await kv.data("read", "metadata/app")).toMatchObject({ current_version: 12, oldest_version: 3 });
  expect(await kv.ask("read", "data/app", { version: 2 })).toBeUndefined();
  await kv.ask("update", "metadata/app", { max_versions: 2 });
  await write(kv, { a: 13 });
  expect(await kv.data("read", "metadata/app")).toMatchObject({
    oldest_version: 12,
    max_versions: 2,
    versions: { "12": {}, "13": {} },
  });
  await kv.ask("update", "config", { max_versions: 1 });
  await kv.ask("update", "data/second", { data: {} });
  await kv.ask("update", "data/second", { data: {} });
  expect(await kv.data("read", "metadata/second")).toMatchObject({ oldest_version: 2, max_versions: 0 });
  await expect(kv.ask("update", "config", { max_versions: 1001 })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("versions delete themselves after the time that the mount or the secret says, the shorter one", async () => {
  await using kv = await aVersionedVault();
  await kv.ask("update", "config", { delete_version_after: "1h" });
  expect(await kv.data("read", "config")).toEqual({
    cas_required: false,
    delete_version_after: "1h0m0s",
    max_versions: 0,
  });
  await kv.ask("update", "metadata/app", { delete_version_after: "90s" });
  const added = meta(1, { deletion_time: "2027-01-15T08:01:30.000Z" });
  expect(await write(kv, { a: 1 })).toEqual(added);
  kv.advanceSeconds(89);
  expect(await kv.data("read", "data/app")).toEqual({ data: { a: 1 }, metadata: added });
  kv.advanceSeconds(1);
  expect((await kv.ask("read", "data/app"))?.status).toBe(404);
  await kv.ask("update", "undelete/app", { versions: [1] });
  expect(await kv.data("read", "data/app")).toEqual({ data: { a: 1 }, metadata: meta(1) });
});

test("a patch changes what it names, and needs a version that can be read", async () => {
  await using kv = await aVersionedVault();
  expect(await kv.ask("patch", "data/app", { data: { b: 1 } })).toBeUndefined();
  await write(kv, { a: 1, deep: { x: 1, y: 2 }, gone: 1 });
  expect(
    await kv.data("patch", "data/app", {
      data: { deep: { x: null, z: 3 }, gone: null },
      options: { cas: 1 },
    }),
  ).toEqual(meta(2));
  expect(await kv.data("read", "data/app")).toMatchObject({ data: { a: 1, deep: { y: 2, z: 3 } } });
  await expect(kv.ask("patch", "data/app", { data: {}, options: { cas: 1 } })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  await kv.ask("delete", "data/app");
  expect((await kv.ask("patch", "data/app", { data: { b: 1 } }))?.status).toBe(404);
  await kv.ask("update", "destroy/app", { versions: [2] });
  expect((await kv.ask("patch", "data/app", { data: { b: 1 } }))?.status).toBe(404);
});

test("patches at the same time all count", async () => {
  await using kv = await aVersionedVault();
  await write(kv, {});
  await Promise.all(
    Array.from({ length: 20 }, (_, index) => kv.ask("patch", "data/app", { data: { [`k${index}`]: index } })),
  );
  const read = (await kv.data("read", "data/app")) as { data: object; metadata: { version: number } };
  expect(Object.keys(read.data)).toHaveLength(20);
  expect(read.metadata.version).toBe(21);
});

test("settings of a secret are there before its first version, and are patched", async () => {
  await using kv = await aVersionedVault();
  await kv.ask("update", "metadata/app", { custom_metadata: { owner: "a", team: "b" }, max_versions: 5 });
  expect(await kv.ask("read", "data/app")).toBeUndefined();
  await kv.ask("patch", "metadata/app", { custom_metadata: { team: null, x: "y" }, max_versions: null });
  expect(await kv.data("read", "metadata/app")).toMatchObject({
    current_version: 0,
    oldest_version: 0,
    versions: {},
    max_versions: 0,
    custom_metadata: { owner: "a", x: "y" },
  });
  expect(await write(kv, {}, { cas: 0 })).toEqual(meta(1, { custom_metadata: { owner: "a", x: "y" } }));
  await expect(kv.ask("patch", "metadata/other", {})).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test.each([
  { name: "no text", custom_metadata: { a: 1 } },
  { name: "a long value", custom_metadata: { a: "x".repeat(513) } },
  { name: "a long name", custom_metadata: { ["x".repeat(129)]: "" } },
  { name: "an empty name", custom_metadata: { "": "" } },
  {
    name: "too many",
    custom_metadata: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, ""])),
  },
])("custom metadata with $name is refused", async ({ custom_metadata }) => {
  await using kv = await aVersionedVault();
  await expect(kv.ask("update", "metadata/app", { custom_metadata })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("secrets are listed by their metadata, and removed with everything", async () => {
  await using kv = await aVersionedVault();
  await write(kv, { a: 1 });
  await kv.ask("update", "metadata/app", { max_versions: 1000 });
  for (let a = 0; a < 250; a += 1) await write(kv, { a });
  await kv.ask("update", "data/app/db", { data: {} });
  expect(await kv.data("list", "metadata")).toEqual({ keys: ["app", "app/"] });
  expect(await kv.data("list", "metadata/app")).toEqual({ keys: ["db"] });
  expect(await kv.data("scan", "metadata/")).toEqual({ keys: ["app", "app/db"] });
  await kv.ask("delete", "metadata/app");
  expect(await kv.data("list", "metadata")).toEqual({ keys: ["app/"] });
  const stored = (await kv.storage.list("barrier/logical/")).entries.map(({ key }) => key);
  expect(stored.filter((key) => key.endsWith("/app"))).toEqual([]);
  expect(await write(kv, { new: 1 })).toEqual(meta(1));
});

test("subkeys shows names down to a depth and no value", async () => {
  await using kv = await aVersionedVault();
  await write(kv, { a: 1, b: { c: { d: "secret" }, e: [1] }, f: {} });
  expect(await kv.data("read", "subkeys/app")).toEqual({
    metadata: meta(1),
    subkeys: { a: null, b: { c: { d: null }, e: null }, f: null },
  });
  expect(await kv.data("read", "subkeys/app", { depth: 1 })).toMatchObject({
    subkeys: { a: null, b: null, f: null },
  });
  expect(await kv.data("read", "subkeys/app", { depth: 2 })).toMatchObject({
    subkeys: { b: { c: null, e: null } },
  });
  await kv.ask("delete", "data/app");
  expect(await kv.ask("read", "subkeys/app")).toMatchObject({
    status: 404,
    response: { data: { subkeys: null } },
  });
});

test("a write without data and a version that nobody knows are refused", async () => {
  await using kv = await aVersionedVault();
  await expect(kv.ask("update", "data/app", { a: 1 })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await expect(kv.ask("patch", "data/app", {})).rejects.toMatchObject({ code: "INPUT_INVALID" });
  const { vault, root } = kv;
  await expect(
    vault.write(root, "sys/mounts/third", { type: "kv", options: { version: "3" } }),
  ).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a mount of type kv-v2 is of version 2", async () => {
  await using kv = await aVersionedVault();
  const { vault, root } = kv;
  await vault.write(root, "sys/mounts/two", { type: "kv-v2" });
  expect((await vault.write(root, "two/data/x", { data: { a: 1 } }))?.data).toMatchObject({ version: 1 });
});

test("a storage that fails at any write leaves the secret as it was", async () => {
  const inner = memoryStorage();
  let isFull = false;
  const storage = new Proxy(inner, {
    get: (target, name) => {
      if (name === "transaction" && isFull) return () => Promise.reject(new Error("full"));
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
    },
  });
  await using vaultTest = await anUnsealedVault({ backends: { kv: kvBackend({ clock: Date }) }, storage });
  const { vault, root } = vaultTest;
  await vault.write(root, "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await vault.write(root, "secret/data/x", { data: { a: 1 } });
  isFull = true;
  await expect(vault.write(root, "secret/data/x", { data: { a: 2 } })).rejects.toThrow("full");
  await expect(vault.delete(root, "secret/metadata/x")).rejects.toThrow("full");
  isFull = false;
  expect((await vault.read(root, "secret/data/x"))?.data).toMatchObject({ data: { a: 1 } });
});
