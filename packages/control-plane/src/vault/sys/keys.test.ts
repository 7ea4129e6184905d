import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";

import { Barrier } from "../seal/barrier.js";
import { Keyring } from "../seal/keyring.js";
import { aSharedVault, reopenVault } from "../testing/a-shared-vault.js";
import { everyCrash } from "../testing/crashing-storage.js";
import { anUnsealedVault } from "../testing/unsealed-vault.js";

const POLICY = { policy: `path "x" { capabilities = ["read"] }` };

test("the state of the key tells its term, its age and how many values it encrypted", async () => {
  const { write, read } = await aSharedVault(1, 1);
  const before = await read("sys/key-status");
  expect(before).toMatchObject({ term: 1, install_time: "2027-01-15T08:00:00.000Z" });
  await write("sys/policies/acl/a", POLICY);
  const after = await read("sys/key-status");
  // The value and the transaction counter.
  expect(Number(after["encryptions"]) - Number(before["encryptions"])).toBe(2);
});

test("what a key encrypted is counted over a restart, and anew for another key", async () => {
  const { vault, write, read, shares, root, storage } = await aSharedVault(1, 1);
  for (let index = 0; index < 50; index += 1) await write("sys/policies/acl/a", POLICY);
  const counted = Number((await read("sys/key-status"))["encryptions"]);
  expect(counted).toBeGreaterThanOrEqual(100);
  await vault.seal();
  await using again = await reopenVault({ storage });
  await again.unseal(shares[0] ?? "");
  const status = (await again.read(root, "sys/key-status"))?.data;
  expect(Number(status?.["encryptions"])).toBeGreaterThanOrEqual(counted);
  expect(Number(status?.["encryptions"])).toBeLessThan(counted + 10);
  await again.write(root, "sys/rotate/keyring", {});
  const rotated = (await again.read(root, "sys/key-status"))?.data;
  expect(rotated).toMatchObject({ term: 2 });
  expect(Number(rotated?.["encryptions"])).toBeLessThan(10);
});

test("right after a rotation a restart counts nothing for the new key", async () => {
  const { vault, write, read, shares } = await aSharedVault(1, 1);
  for (let index = 0; index < 20; index += 1) await write("sys/policies/acl/a", POLICY);
  await vault.rotateKey();
  await vault.seal();
  await vault.unseal(shares[0] ?? "");
  expect(Number((await read("sys/key-status"))["encryptions"])).toBeLessThan(10);
});

test("a counter that older code wrote is read, and its transactions are taken for what was encrypted", async () => {
  const storage = memoryStorage();
  const keyring = Keyring.create(0);
  const counter = Buffer.alloc(6);
  counter.writeUIntBE(77, 0, 6);
  const value = keyring.encrypt("core/sequence", 77, counter);
  await storage.transaction([], [{ type: "put", key: "core/sequence", value }]);
  const barrier = await Barrier.unseal(storage, keyring);
  expect(barrier.sequence).toBe(77);
  expect(barrier.keyUse.encryptions).toBe(77);
  await barrier.transaction([], [{ type: "put", key: "a", value: new Uint8Array(1) }]);
  expect(barrier.keyUse.encryptions).toBe(79);
});

test("a key that encrypted enough is replaced by itself, and everything stays readable", async () => {
  const { vault, write, read, shares, storage, root } = await aSharedVault(1, 1);
  const few = Buffer.from(
    JSON.stringify({ version: 1, enabled: true, maxOperations: 40, intervalSeconds: 0 }),
  );
  await vault.barrier.transaction([], [{ type: "put", key: "core/key-rotation", value: few }]);
  await vault.seal();
  await vault.unseal(shares[0] ?? "");
  for (let index = 0; index < 100; index += 1) await write(`sys/policies/acl/p${index}`, POLICY);
  const { term } = await read("sys/key-status");
  expect(Number(term)).toBeGreaterThan(4);
  await vault.seal();
  await using again = await reopenVault({ storage });
  await again.unseal(shares[0] ?? "");
  for (let index = 0; index < 100; index += 1) {
    expect((await again.read(root, `sys/policies/acl/p${index}`))?.data).toMatchObject({ name: `p${index}` });
  }
});

test("with an interval the first write after it gets a new key; a clock put back does nothing", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root, advanceSeconds, clock } = subject;
  const term = async (): Promise<unknown> => (await vault.read(root, "sys/key-status"))?.data?.["term"];
  await vault.write(root, "sys/rotate/config", { interval: "24h" });
  advanceSeconds(23 * 3600);
  await vault.write(root, "sys/policies/acl/a", POLICY);
  expect(await term()).toBe(1);
  advanceSeconds(2 * 3600);
  await vault.write(root, "sys/policies/acl/a", POLICY);
  expect(await term()).toBe(2);
  clock.jump(-100 * 3600 * 1000);
  await vault.write(root, "sys/policies/acl/a", POLICY);
  expect(await term()).toBe(2);
});

test.each(["sys/rotate/config", "sys/rotate/keyring/config"])(
  "%s is read and changed in parts",
  async (path) => {
    const { write, read } = await aSharedVault(1, 1);
    const standard = { enabled: true, max_operations: 3_865_470_566, interval: 0 };
    expect(await read(path)).toEqual(standard);
    await write(path, { interval: "48h", max_operations: null });
    expect(await read(path)).toEqual({ ...standard, interval: 172_800 });
    await write(path, { enabled: "false", max_operations: "2000000" });
    expect(await read(path)).toEqual({ enabled: false, max_operations: 2_000_000, interval: 172_800 });
  },
);

test.each([
  { max_operations: 999_999 },
  { max_operations: 3_865_470_567 },
  { max_operations: -1 },
  { interval: "23h" },
  { interval: "-1h" },
  { enabled: "perhaps" },
])("rotation settings of %j are refused", async (data) => {
  const { write, read } = await aSharedVault(1, 1);
  await expect(write("sys/rotate/config", data)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(await read("sys/rotate/config")).toMatchObject({ enabled: true, interval: 0 });
});

test("a rotation killed at any moment leaves a vault that opens and reads everything", async () => {
  for (const crash of everyCrash(1)) {
    const { vault, write, shares, storage, root } = await aSharedVault(1, 1);
    await write("sys/policies/acl/a", POLICY);
    storage.plan(crash);
    await expect(vault.rotateKey()).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
    await using again = await reopenVault({ storage: storage.disk });
    await again.unseal(shares[0] ?? "");
    expect((await again.read(root, "sys/policies/acl/a"))?.data).toMatchObject({ name: "a" });
    await again.write(root, "sys/policies/acl/b", POLICY);
    expect((await again.read(root, "sys/key-status"))?.data).toMatchObject({ term: crash.written ? 2 : 1 });
  }
});

test("rotating takes sudo", async () => {
  const { vault, write, root } = await aSharedVault(1, 1);
  await write("sys/policies/acl/p", {
    policy: `path "sys/*" { capabilities = ["create", "read", "update"] }`,
  });
  const made = await vault.write(root, "auth/token/create", { policies: ["p"] });
  const token = made?.auth?.client_token ?? "";
  for (const path of ["sys/rotate", "sys/rotate/keyring", "sys/rotate/config"]) {
    await expect(vault.write(token, path, {})).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  }
});
