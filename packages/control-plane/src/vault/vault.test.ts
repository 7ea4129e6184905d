import { RksError, Secret } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage, type TransactionResult } from "@rk8s/storage";
import { expect, test } from "vitest";

import { anUnsealedVault, echoBackend } from "./testing/unsealed-vault.js";
import { openVault as openVaultWith } from "./vault.js";
import type { InitResult, Vault, VaultInit } from "./vault.js";

function openVault(init: VaultInit): Promise<Vault> {
  return openVaultWith(init, { clock: new FakeClock() });
}

async function aSealedVault(
  shares: number,
  threshold: number,
): Promise<InitResult & { vault: Vault; storage: Storage }> {
  const storage = memoryStorage();
  const vault = await openVault({ storage });
  return { ...(await vault.init({ shares, threshold })), vault, storage };
}

function flipLastByte(value: Uint8Array): Uint8Array {
  const flipped = Uint8Array.from(value);
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  return flipped;
}

/** The codes of those that were refused, each once. */
function refusalCodes(results: readonly PromiseSettledResult<unknown>[]): string[] {
  return [
    ...new Set(results.flatMap((result) => (result.status === "rejected" ? [codeOf(result.reason)] : []))),
  ];
}

function codeOf(reason: unknown): string {
  return reason instanceof RksError ? reason.code : String(reason);
}

test("initialise, unseal, mount, write, read, list, delete, as a program does it", async () => {
  await using vault = await openVault({ storage: memoryStorage(), backends: { echo: echoBackend } });
  const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
  expect((await vault.unseal(shares[0] ?? "")).sealed).toBe(false);
  expect(await vault.write(rootToken, "sys/mounts/things", { type: "echo" })).toBeUndefined();
  const answer = await vault.write(rootToken, "things/a/b", { x: 1 });
  expect(answer).toMatchObject({
    lease_id: "",
    renewable: false,
    lease_duration: 0,
    wrap_info: null,
    warnings: null,
    auth: null,
    data: { operation: "update", path: "a/b", data: { x: 1 } },
  });
  expect((await vault.read(rootToken, "things/a/b"))?.data).toMatchObject({ operation: "read" });
  expect((await vault.list(rootToken, "things/a/"))?.data).toMatchObject({ operation: "list", path: "a" });
  expect((await vault.delete(rootToken, "things/a/b"))?.data).toMatchObject({ operation: "delete" });
  expect(await vault.read(rootToken, "things/nothing")).toBeUndefined();
});

test("before the initialisation every path but the open ones says VAULT_NOT_INITIALIZED", async () => {
  const vault = await openVault({ storage: memoryStorage() });
  expect(vault.status()).toMatchObject({ initialized: false, sealed: true, threshold: 0 });
  expect((await vault.read("", "sys/health"))?.data).toMatchObject({ initialized: false, sealed: true });
  expect((await vault.read("", "sys/init"))?.data).toEqual({ initialized: false });
  await expect(vault.read("t", "sys/mounts")).rejects.toMatchObject({ code: "VAULT_NOT_INITIALIZED" });
  await expect(vault.unseal("00".repeat(32))).rejects.toMatchObject({ code: "VAULT_NOT_INITIALIZED" });
  expect(() => vault.barrier).toThrow(expect.objectContaining({ code: "VAULT_NOT_INITIALIZED" }));
});

test("sealed, every path but the open ones says VAULT_SEALED", async () => {
  const { vault, rootToken } = await aSealedVault(1, 1);
  expect((await vault.read("", "sys/seal-status"))?.data).toMatchObject({
    sealed: true,
    t: 1,
    n: 1,
    progress: 0,
  });
  await expect(vault.read(rootToken, "sys/mounts")).rejects.toMatchObject({ code: "VAULT_SEALED" });
  await expect(vault.write(rootToken, "sys/seal", {})).rejects.toMatchObject({ code: "VAULT_SEALED" });
  expect(() => vault.barrier).toThrow(expect.objectContaining({ code: "VAULT_SEALED" }));
});

test("three of five shares unseal it, in any order, over several calls, hex or base64", async () => {
  const { vault, shares } = await aSealedVault(5, 3);
  const [first, , third, , fifth] = shares.map((share) => share.reveal());
  const one = await vault.unseal(fifth ?? "");
  expect(one).toMatchObject({ sealed: true, progress: 1, threshold: 3, shares: 5 });
  expect(one.nonce).not.toBe("");
  expect((await vault.unseal(Buffer.from(first ?? "", "base64").toString("hex"))).nonce).toBe(one.nonce);
  expect(await vault.unseal(third ?? "")).toMatchObject({ sealed: false, progress: 0, nonce: "" });
});

test("the same share twice counts once", async () => {
  const { vault, shares } = await aSealedVault(3, 2);
  await vault.unseal(shares[0] ?? "");
  expect(await vault.unseal(shares[0] ?? "")).toMatchObject({ sealed: true, progress: 1 });
  expect(await vault.unseal(shares[1] ?? "")).toMatchObject({ sealed: false });
});

test("resetting forgets the shares and the nonce", async () => {
  const { vault, shares } = await aSealedVault(3, 2);
  await vault.unseal(shares[0] ?? "");
  expect((await vault.write("", "sys/unseal", { reset: true }))?.data).toMatchObject({
    progress: 0,
    nonce: "",
  });
  expect(await vault.unseal(shares[1] ?? "")).toMatchObject({ sealed: true, progress: 1 });
});

test("a share of another vault is refused, the attempt starts anew and the right shares still work", async () => {
  const other = await aSealedVault(3, 2);
  const { vault, shares } = await aSealedVault(3, 2);
  await vault.unseal(shares[0] ?? "");
  await expect(vault.unseal(other.shares[1] ?? "")).rejects.toMatchObject({ code: "UNSEAL_KEY_INVALID" });
  expect(vault.status()).toMatchObject({ sealed: true, progress: 0 });
  await vault.unseal(shares[2] ?? "");
  expect(await vault.unseal(shares[1] ?? "")).toMatchObject({ sealed: false });
});

test.each([
  { name: "nothing", share: "" },
  { name: "text", share: "not a key" },
  { name: "a share that is too short", share: Buffer.alloc(32).toString("base64") },
  { name: "a share that is too long", share: Buffer.alloc(34).toString("hex") },
])("$name is refused as a share and does not disturb the attempt", async ({ share }) => {
  const { vault, shares } = await aSealedVault(3, 2);
  await vault.unseal(shares[0] ?? "");
  await expect(vault.unseal(share)).rejects.toMatchObject({ code: "UNSEAL_KEY_INVALID" });
  expect(vault.status()).toMatchObject({ progress: 1 });
});

test.each(["core/root-key", "core/keyring", "core/sequence", "barrier/token/salt"])(
  "with %s damaged the right shares say STORAGE_CORRUPT, and the vault stays sealed",
  async (key) => {
    const { storage, shares, vault } = await aSealedVault(1, 1);
    const value = (await storage.get(key))?.value ?? new Uint8Array();
    await storage.transaction([], [{ type: "put", key, value: flipLastByte(value) }]);
    await expect(vault.unseal(shares[0] ?? "")).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(vault.status().sealed).toBe(true);
  },
);

test.each(["nonsense", "{}", `{"version":2}`])(
  "a seal configuration that is %s is refused when opening",
  async (text) => {
    const { storage } = await aSealedVault(1, 1);
    await storage.transaction([], [{ type: "put", key: "core/seal-config", value: Buffer.from(text) }]);
    await expect(openVault({ storage })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  },
);

test("a second initialisation is refused and changes nothing, also when both come at once", async () => {
  const storage = memoryStorage();
  const [one, two] = [await openVault({ storage }), await openVault({ storage })];
  const results = await Promise.allSettled(
    [one, one, two, two].map((vault) => vault.init({ shares: 1, threshold: 1 })),
  );
  const made = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  expect(made).toHaveLength(1);
  expect(refusalCodes(results)).toEqual(["ALREADY_EXISTS"]);
  expect(await two.unseal(made[0]?.shares[0] ?? "")).toMatchObject({ sealed: false });
  await expect(two.init({ shares: 1, threshold: 1 })).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
});

test("an initialisation whose transaction fails leaves a vault that is not initialised", async () => {
  const inner = memoryStorage();
  let broken = true;
  const storage: Storage = {
    get: (key) => inner.get(key),
    list: (prefix, options) => inner.list(prefix, options),
    watch: (prefix, from, options) => inner.watch(prefix, from, options),
    transaction: (comparisons, writes): Promise<TransactionResult> =>
      broken ? Promise.reject(new Error("crash")) : inner.transaction(comparisons, writes),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
  await expect((await openVault({ storage })).init({ shares: 1, threshold: 1 })).rejects.toThrow("crash");
  broken = false;
  const again = await openVault({ storage });
  expect(again.status().initialized).toBe(false);
  const { shares } = await again.init({ shares: 2, threshold: 2 });
  expect(shares).toHaveLength(2);
});

test("a store that lost its seal is not initialised a second time", async () => {
  const { storage } = await aSealedVault(1, 1);
  await storage.transaction([], [{ type: "delete", key: "core/seal-config" }]);
  const vault = await openVault({ storage });
  await expect(vault.init({ shares: 1, threshold: 1 })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test.each([
  { shares: 0, threshold: 0 },
  { shares: 3, threshold: 1 },
  { shares: 2, threshold: 3 },
  { shares: 256, threshold: 2 },
])("$threshold of $shares shares is refused", async (split) => {
  const vault = await openVault({ storage: memoryStorage() });
  await expect(vault.init(split)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(vault.status().initialized).toBe(false);
});

test("a vault with a key file is unsealed by the key and by no other", async () => {
  const key = new Uint8Array(32).fill(7);
  const storage = memoryStorage();
  const vault = await openVault({ storage });
  expect((await vault.init({ unsealKey: key })).shares).toEqual([]);
  const again = await openVault({ storage });
  expect(again.status().type).toBe("keyfile");
  await expect(again.unseal(new Uint8Array(32).fill(8))).rejects.toMatchObject({
    code: "UNSEAL_KEY_INVALID",
  });
  expect(await again.unseal(key)).toMatchObject({ sealed: false });
});

test("sealing wipes, says so and can be undone; what was held on to stays sealed", async () => {
  const { vault, root, share } = await anUnsealedVault();
  const states: string[] = [];
  const stop = vault.onSealChange((state) =>
    states.push(`${state}, status ${String(vault.status().sealed)}`),
  );
  const before = vault.barrier;
  await vault.write(root, "sys/seal", {});
  await expect(before.get("a")).rejects.toMatchObject({ code: "VAULT_SEALED" });
  await vault.seal();
  await vault.unseal(share);
  await expect(before.get("a")).rejects.toMatchObject({ code: "VAULT_SEALED" });
  expect(await vault.barrier.get("a")).toBeUndefined();
  stop();
  await vault.seal();
  expect(states).toEqual(["sealed, status true", "unsealed, status false"]);
});

test("sealing needs sudo", async () => {
  const { vault, root, tokenWith } = await anUnsealedVault();
  await vault.write(root, "sys/policies/acl/most", {
    policy: `path "sys/*" { capabilities = ["update", "read"] }`,
  });
  const token = await tokenWith({ policies: ["most"] });
  await expect(vault.write(token, "sys/seal", {})).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  await vault.write(root, "sys/policies/acl/all", {
    policy: `path "sys/*" { capabilities = ["update", "sudo"] }`,
  });
  await vault.write(await tokenWith({ policies: ["all"] }), "sys/seal", {});
  expect(vault.status().sealed).toBe(true);
});

test("everything survives sealing, closing and opening; the key can be rotated in between", async () => {
  const { vault, root, share, storage } = await anUnsealedVault({ backends: { echo: echoBackend } });
  await vault.write(root, "sys/mounts/things", { type: "echo" });
  await vault.barrier.transaction([], [{ type: "put", key: "nodes/a", value: Buffer.from("old term") }]);
  expect(await vault.rotateKey()).toEqual({ term: 2 });
  await vault.barrier.transaction([], [{ type: "put", key: "nodes/b", value: Buffer.from("new term") }]);
  expect(await vault.rotateKey()).toEqual({ term: 3 });
  const { sequence } = vault;
  await vault[Symbol.asyncDispose]();

  const again = await openVault({ storage, backends: { echo: echoBackend }, minimumSequence: sequence });
  await again.unseal(share);
  const { entries } = await again.barrier.list("nodes/");
  expect(entries.map(({ value }) => Buffer.from(value).toString())).toEqual(["old term", "new term"]);
  expect((await again.read(root, "things/x"))?.data).toMatchObject({ operation: "read" });
});

test("a store older than what was seen is not unsealed", async () => {
  const { vault, share, storage } = await anUnsealedVault();
  const { sequence } = vault;
  await vault.seal();
  const again = await openVault({ storage, minimumSequence: sequence + 1 });
  await expect(again.unseal(share)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

test("of the store nothing shows the root token, a share, a policy's text or a token's name", async () => {
  const { vault, root, share, storage, tokenWith } = await anUnsealedVault();
  await vault.write(root, "sys/policies/acl/p", {
    policy: `path "secret-looking/*" { capabilities = ["read"] }`,
  });
  const token = await tokenWith({ policies: ["p"], display_name: "visible" });
  const { entries } = await storage.list("");
  const all = entries.map(({ key, value }) => key + Buffer.from(value).toString("latin1")).join("\n");
  for (const secret of [root.reveal(), token, share.reveal(), "secret-looking", "visible"]) {
    expect(all).not.toContain(secret);
  }
});

test("neither the result of an initialisation nor an error shows a secret", async () => {
  const { vault, shares, rootToken } = await aSealedVault(1, 1);
  expect(JSON.stringify({ shares, rootToken })).toBe(`{"shares":["[redacted]"],"rootToken":"[redacted]"}`);
  await vault.unseal(shares[0] ?? "");
  const error = await vault.read("hvs.wrong-but-private", "sys/mounts").catch((reason: unknown) => reason);
  expect(JSON.stringify(error)).not.toContain("wrong-but-private");
});

test("handle() initialises and unseals in Vault's words", async () => {
  const vault = await openVault({ storage: memoryStorage(), version: "1.2.3" });
  const made = await vault.handle({
    operation: "update",
    path: "sys/init",
    data: { secret_shares: "3", secret_threshold: 2, pgp_keys: null },
  });
  const keys = made?.data?.["keys"] as string[];
  const base64 = made?.data?.["keys_base64"] as string[];
  expect(Buffer.from(keys[0] ?? "", "hex").toString("base64")).toBe(base64[0]);
  expect(keys[0]).toHaveLength(66);
  await vault.handle({ operation: "update", path: "sys/unseal", data: { key: keys[0] } });
  const status = await vault.handle({ operation: "update", path: "sys/unseal", data: { key: base64[2] } });
  expect(status?.data).toMatchObject({ type: "shamir", sealed: false, t: 2, n: 3, version: "1.2.3" });
  const root = new Secret(made?.data?.["root_token"] as string);
  expect((await vault.read(root, "auth/token/lookup-self"))?.data).toMatchObject({
    policies: ["root"],
    ttl: 0,
  });
});

test("a hundred requests while it is sealed and unsealed all end with an answer or a code", async () => {
  const { vault, root, share } = await anUnsealedVault({ backends: { echo: echoBackend } });
  await vault.write(root, "sys/mounts/things", { type: "echo" });
  const requests = Array.from({ length: 100 }, (_, index) =>
    vault.write(root, `things/stored/${index}`, { index }),
  );
  const settled = Promise.allSettled(requests);
  await vault.seal();
  expect(["", "VAULT_SEALED"]).toContain(refusalCodes(await settled).join());
  await vault.unseal(share);
  expect((await vault.read(root, "things/x"))?.data).toMatchObject({ operation: "read" });
});

test("rotating the key while others write loses nothing, and all of it is readable after a restart", async () => {
  await using subject = await anUnsealedVault({ backends: { echo: echoBackend } });
  const { vault, root, storage, share } = subject;
  await vault.write(root, "sys/mounts/e", { type: "echo" });
  const work: Promise<unknown>[] = [];
  for (let index = 0; index < 200; index += 1) {
    work.push(vault.write(root, `e/stored/${index}`, { index }));
    if (index % 20 === 0) work.push(vault.rotateKey());
  }
  await Promise.all(work);
  await vault.seal();
  const again = await openVault({ storage, backends: { echo: echoBackend } });
  await again.unseal(share);
  expect((await again.barrier.list("logical/")).entries).toHaveLength(200);
  expect((await again.rotateKey()).term).toBe(12);
  await again.seal();
});

test("two unseals at the same time with the same or with different shares open it once", async () => {
  const { vault, shares } = await aSealedVault(3, 2);
  const changes: string[] = [];
  vault.onSealChange((state) => changes.push(state));
  await Promise.all([...shares, ...shares].map(async (share) => vault.unseal(share)));
  expect(vault.status()).toMatchObject({ sealed: false, progress: 0 });
  expect(changes).toEqual(["unsealed"]);
  await vault.seal();
});
