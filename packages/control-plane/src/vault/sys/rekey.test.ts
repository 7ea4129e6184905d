import { Secret } from "@rk8s/protocol";
import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";

import { aSharedVault, opensAfterRestart, textsOf, reopenVault } from "../testing/a-shared-vault.js";
import { everyCrash } from "../testing/crashing-storage.js";

const three = { secret_shares: 3, secret_threshold: 2 };

test.each(["sys/rekey", "sys/rotate/root"])(
  "%s: enough old shares give new ones, and only the new ones open the vault then",
  async (path) => {
    const { storage, shares, write, read, give, vault } = await aSharedVault(5, 3);
    expect(await read(`${path}/init`)).toEqual({
      nonce: "",
      started: false,
      t: 0,
      n: 0,
      progress: 0,
      required: 3,
      pgp_fingerprints: null,
      backup: false,
      verification_required: false,
    });
    const begun = await write(`${path}/init`, three);
    expect(begun).toMatchObject({ started: true, t: 2, n: 3, progress: 0, required: 3 });
    const { nonce } = begun;
    expect(await give(`${path}/update`, shares.slice(0, 2), nonce)).toMatchObject({ progress: 2, nonce });
    const done = await give(`${path}/update`, [shares[4] ?? ""], nonce);
    expect(done).toMatchObject({ complete: true, nonce, verification_required: false, backup: false });
    const fresh = textsOf(done["keys_base64"]);
    expect(fresh).toHaveLength(3);
    expect(textsOf(done["keys"])).toEqual(fresh.map((key) => Buffer.from(key, "base64").toString("hex")));
    expect(await read(`${path}/init`)).toMatchObject({ started: false, required: 2 });
    expect(vault.status()).toMatchObject({ sealed: false, threshold: 2, shares: 3 });
    await write("sys/policies/acl/after", { policy: `path "x" { capabilities = ["read"] }` });
    expect(await opensAfterRestart(storage.disk, shares.slice(0, 3))).toBe(false);
    expect(await opensAfterRestart(storage.disk, fresh.slice(1))).toBe(true);
    await vault.seal();
    for (const share of fresh.slice(0, 2)) await vault.unseal(share);
    expect(await read("sys/policies/acl/after")).toMatchObject({ name: "after" });
  },
);

test("what a bare answer says stands alone, what OpenBao's paths say stands in the envelope", async () => {
  const { vault, root } = await aSharedVault(1, 1);
  const form = async (path: string): Promise<unknown> =>
    (await vault.answer({ operation: "read", path, clientToken: root }))?.form;
  expect(await form("sys/rekey/init")).toBe("bare");
  expect(await form("sys/rekey/verify")).toBe("bare");
  expect(await form("sys/rotate/root/init")).toBe("envelope");
});

test("with verification the old shares stay good until enough new ones were given back", async () => {
  const { storage, shares, write, read, give } = await aSharedVault(3, 2);
  const { nonce } = await write("sys/rekey/init", { ...three, require_verification: true });
  const made = await give("sys/rekey/update", shares.slice(0, 2), nonce);
  expect(made).toMatchObject({ complete: true, verification_required: true });
  const fresh = textsOf(made["keys_base64"]);
  const again = made["verification_nonce"];
  expect(await opensAfterRestart(storage.disk, shares.slice(0, 2))).toBe(true);
  expect(await opensAfterRestart(storage.disk, fresh.slice(0, 2))).toBe(false);
  expect(await read("sys/rekey/init")).toMatchObject({ started: true, verification_nonce: again });
  expect(await read("sys/rekey/verify")).toEqual({ nonce: again, started: true, t: 2, n: 3, progress: 0 });
  // Keys that are rotated in between are in the new seal all the same.
  await write("sys/rotate");
  expect(await give("sys/rekey/verify", fresh.slice(0, 1), again)).toMatchObject({ progress: 1 });
  expect(await give("sys/rekey/verify", fresh.slice(1, 2), again)).toEqual({ nonce: again, complete: true });
  expect(await opensAfterRestart(storage.disk, shares.slice(0, 2))).toBe(false);
  expect(await opensAfterRestart(storage.disk, fresh.slice(1))).toBe(true);
  expect((await read("sys/key-status"))["term"]).toBe(2);
});

test("a verification begun anew forgets the shares given and takes another nonce", async () => {
  const { shares, write, give, vault, root } = await aSharedVault(3, 2);
  const { nonce } = await write("sys/rekey/init", { ...three, require_verification: true });
  const made = await give("sys/rekey/update", shares.slice(0, 2), nonce);
  const [first = "", second = ""] = textsOf(made["keys_base64"]);
  await give("sys/rekey/verify", [first], made["verification_nonce"]);
  const anew = (await vault.delete(root, "sys/rekey/verify"))?.data ?? {};
  expect(anew).toMatchObject({ started: true, progress: 0 });
  expect(anew["nonce"]).not.toBe(made["verification_nonce"]);
  await expect(give("sys/rekey/verify", [second], made["verification_nonce"])).rejects.toThrow("nonce");
  expect(await give("sys/rekey/verify", [first, second], anew["nonce"])).toMatchObject({ complete: true });
});

test("new shares that are given back wrong change nothing, and can be given again", async () => {
  const { storage, shares, write, give, read } = await aSharedVault(3, 2);
  const { nonce } = await write("sys/rekey/init", { ...three, require_verification: true });
  const made = await give("sys/rekey/update", shares.slice(0, 2), nonce);
  const fresh = textsOf(made["keys_base64"]);
  const again = made["verification_nonce"];
  await expect(give("sys/rekey/verify", shares.slice(0, 2), again)).rejects.toMatchObject({
    code: "UNSEAL_KEY_INVALID",
  });
  expect(await read("sys/rekey/verify")).toMatchObject({ progress: 0, started: true });
  expect(await opensAfterRestart(storage.disk, shares.slice(0, 2))).toBe(true);
  expect(await give("sys/rekey/verify", fresh.slice(0, 2), again)).toMatchObject({ complete: true });
});

test("a cancelled rekey leaves the old shares good, also when the new ones were handed out", async () => {
  const { storage, shares, write, give, read, vault, root } = await aSharedVault(3, 2);
  const begun = await write("sys/rekey/init", { ...three, require_verification: true });
  const made = await give("sys/rekey/update", shares.slice(0, 2), begun["nonce"]);
  await expect(vault.delete(root, "sys/rekey/init", { nonce: "another" })).rejects.toThrow("nonce");
  expect(await vault.delete(root, "sys/rekey/init")).toBeUndefined();
  expect(await read("sys/rekey/init")).toMatchObject({ started: false });
  expect(await read("sys/rekey/verify")).toMatchObject({ started: false, nonce: "" });
  const fresh = textsOf(made["keys_base64"]);
  await expect(give("sys/rekey/verify", fresh, made["verification_nonce"])).rejects.toThrow("in progress");
  expect(await opensAfterRestart(storage.disk, shares.slice(0, 2))).toBe(true);
});

test.each([
  { name: "no shares", data: {}, text: "shares must be at least one" },
  { name: "no threshold", data: { secret_shares: 3 }, text: "threshold must be at least one" },
  { name: "a threshold above", data: { secret_shares: 2, secret_threshold: 3 }, text: "larger" },
  { name: "1 of 2", data: { secret_shares: 2, secret_threshold: 1 }, text: "greater than one" },
  { name: "256 shares", data: { secret_shares: 256, secret_threshold: 2 }, text: "at most 255" },
  { name: "half a share", data: { secret_shares: 1.5, secret_threshold: 1 }, text: "secret_shares" },
  { name: "PGP keys", data: { ...three, pgp_keys: ["k"] }, text: "pgp_keys" },
  { name: "a backup", data: { ...three, backup: true }, text: "backup" },
])("a rekey with $name is refused", async ({ data, text }) => {
  const { write, read } = await aSharedVault(1, 1);
  await expect(write("sys/rekey/init", data)).rejects.toThrow(text);
  expect(await read("sys/rekey/init")).toMatchObject({ started: false });
});

test("what clients send for nothing is nothing", async () => {
  const { write } = await aSharedVault(1, 1);
  const data = { ...three, pgp_keys: null, backup: false, stored_shares: null, require_verification: null };
  expect(await write("sys/rekey/init", data)).toMatchObject({ started: true });
});

test("shares of another vault are refused when they are all there, and must then all be given again", async () => {
  const { shares, write, read, give } = await aSharedVault(3, 2);
  const foreign = await aSharedVault(3, 2);
  const { nonce } = await write("sys/rekey/init", three);
  const [own = "", other = ""] = shares;
  await expect(give("sys/rekey/update", [own, foreign.shares[1] ?? ""], nonce)).rejects.toMatchObject({
    code: "UNSEAL_KEY_INVALID",
  });
  expect(await read("sys/rekey/init")).toMatchObject({ progress: 0, nonce });
  expect(await give("sys/rekey/update", [own, own, own], nonce)).toMatchObject({ progress: 1 });
  expect(await give("sys/rekey/update", [other], nonce)).toMatchObject({ complete: true });
});

test.each(["", "AA==", "zz", "00".repeat(32), "A".repeat(5000), "🙂"])(
  "%j is not a share, and counts for none",
  async (key) => {
    const { write, read } = await aSharedVault(3, 2);
    const { nonce } = await write("sys/rekey/init", three);
    await expect(write("sys/rekey/update", { key, nonce })).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:UNSEAL_KEY|INPUT)_INVALID$/) as string,
    });
    expect(await read("sys/rekey/init")).toMatchObject({ progress: 0 });
  },
);

test("a share without the nonce, with another one or without a rekey is refused", async () => {
  const { shares, write } = await aSharedVault(3, 2);
  const [key] = shares;
  await expect(write("sys/rekey/update", { key, nonce: "x" })).rejects.toThrow("no rekey is in progress");
  await write("sys/rekey/init", three);
  await expect(write("sys/rekey/update", { key })).rejects.toThrow("nonce is missing");
  await expect(write("sys/rekey/update", { key, nonce: "x" })).rejects.toThrow("nonce");
  await expect(write("sys/rekey/verify", { key, nonce: "x" })).rejects.toThrow("no verification");
});

test("of ten rekeys begun at once one is, and of its last share given ten times one is counted", async () => {
  const { storage, shares, write, vault } = await aSharedVault(3, 2);
  const begun = await Promise.allSettled(Array.from({ length: 10 }, () => write("sys/rekey/init", three)));
  const [won] = begun.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  expect(begun.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  const [first, second] = shares;
  await write("sys/rekey/update", { key: first, nonce: won?.["nonce"] });
  const given = await Promise.allSettled(
    Array.from({ length: 10 }, () => write("sys/rekey/update", { key: second, nonce: won?.["nonce"] })),
  );
  const [done] = given.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  expect(given.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  const fresh = textsOf(done?.["keys_base64"]);
  expect(vault.status()).toMatchObject({ threshold: 2, shares: 3 });
  expect(await opensAfterRestart(storage.disk, fresh.slice(0, 2))).toBe(true);
});

test("sealing forgets a rekey, and the old shares open the vault", async () => {
  const { shares, write, read, give, vault } = await aSharedVault(3, 2);
  const { nonce } = await write("sys/rekey/init", { ...three, require_verification: true });
  const made = await give("sys/rekey/update", shares.slice(0, 2), nonce);
  await vault.seal();
  for (const share of shares.slice(1)) await vault.unseal(share);
  expect(await read("sys/rekey/init")).toMatchObject({ started: false });
  const fresh = textsOf(made["keys_base64"]);
  await expect(give("sys/rekey/verify", fresh, made["verification_nonce"])).rejects.toThrow("in progress");
});

test("a rekey killed at any moment leaves either the old shares or the new ones good", async () => {
  for (const crash of everyCrash(1)) {
    const { storage, shares, write, vault, root } = await aSharedVault(3, 2);
    const { nonce } = await write("sys/rekey/init", { ...three, require_verification: true });
    let fresh: readonly string[] = [];
    let again: unknown;
    for (const key of shares.slice(0, 2)) {
      const answer = await write("sys/rekey/update", { key, nonce });
      fresh = textsOf(answer["keys_base64"]);
      again = answer["verification_nonce"];
    }
    await write("sys/rekey/verify", { key: fresh[0], nonce: again });
    storage.plan(crash);
    const last = vault.write(root, "sys/rekey/verify", { key: fresh[1], nonce: again });
    const said = await last.then(
      (answer) => answer?.data?.["complete"],
      () => "refused",
    );
    expect(said).toBe(crash.written ? true : "refused");
    expect(await opensAfterRestart(storage.disk, fresh.slice(0, 2))).toBe(crash.written);
    expect(await opensAfterRestart(storage.disk, shares.slice(0, 2))).toBe(!crash.written);
  }
});

test("a rekey that could not be written can be finished when the disk is back", async () => {
  const { storage, shares, write, give, vault } = await aSharedVault(1, 1);
  const { nonce } = await write("sys/rekey/init", three);
  storage.plan({ at: 1, written: false });
  await expect(give("sys/rekey/update", shares, nonce)).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
  expect(await opensAfterRestart(storage.disk, shares)).toBe(true);
  storage.plan(undefined);
  const done = await give("sys/rekey/update", shares, nonce);
  await vault.seal();
  for (const share of textsOf(done["keys_base64"]).slice(0, 2)) await vault.unseal(share);
  expect(vault.status().sealed).toBe(false);
});

test("it takes sudo, and nothing of it is served sealed or to nobody", async () => {
  const { vault, write, root, shares } = await aSharedVault(1, 1);
  const all = `"create", "read", "update", "delete"`;
  await write("sys/policies/acl/p", { policy: `path "sys/*" { capabilities = [${all}] }` });
  const made = await vault.write(root, "auth/token/create", { policies: ["p"] });
  const token = made?.auth?.client_token ?? "";
  const paths = ["init", "update", "verify"].flatMap((end) => [`sys/rekey/${end}`, `sys/rotate/root/${end}`]);
  for (const path of paths) {
    for (const given of [token, ""]) {
      await expect(vault.write(given, path, { ...three, key: shares[0] })).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
      });
    }
  }
  await vault.seal();
  await expect(vault.write(root, "sys/rekey/init", three)).rejects.toMatchObject({ code: "VAULT_SEALED" });
});

test("a vault with a key file has no shares to replace", async () => {
  const vault = await reopenVault({ storage: memoryStorage() });
  const unsealKey = new Uint8Array(32).fill(7);
  const { rootToken } = await vault.init({ unsealKey });
  await vault.unseal(unsealKey);
  await expect(vault.write(rootToken, "sys/rekey/init", three)).rejects.toThrow("key file");
});

test("there is no backup", async () => {
  const { vault, root } = await aSharedVault(1, 1);
  expect(await vault.read(root, "sys/rekey/backup")).toBeUndefined();
});

test("who must know of new shares is told once they count, and what is said reaches the operator", async () => {
  const told: number[] = [];
  const seen = await aSharedVault(1, 1, {
    onRekey: () => {
      told.push(seen.vault.status().shares);
      return Promise.resolve(["keys.json is out of date"]);
    },
  });
  const { shares, write, give, vault, root } = seen;
  const { nonce } = await write("sys/rekey/init", { ...three, require_verification: true });
  const made = await give("sys/rekey/update", shares, nonce);
  expect(told).toEqual([]);
  const fresh = textsOf(made["keys_base64"]).slice(0, 2);
  const done = await give("sys/rekey/verify", fresh, made["verification_nonce"]);
  expect(done).toMatchObject({ complete: true, warnings: ["keys.json is out of date"] });
  expect(told).toEqual([3]);
  const second = await write("sys/rotate/root/init", { secret_shares: 1, secret_threshold: 1 });
  await vault.write(root, "sys/rotate/root/update", { key: fresh[0], nonce: second["nonce"] });
  const answer = await vault.write(root, "sys/rotate/root/update", {
    key: fresh[1],
    nonce: second["nonce"],
  });
  expect(answer?.warnings).toEqual(["keys.json is out of date"]);
});

test("a listener that fails does not keep the new shares from their holders", async () => {
  const { shares, write, give } = await aSharedVault(1, 1, {
    onRekey: () => Promise.reject(new Error("disk on fire")),
  });
  const { nonce } = await write("sys/rekey/init", three);
  expect(textsOf((await give("sys/rekey/update", shares, nonce))["keys"])).toHaveLength(3);
});

test("whether kept shares open the vault can be asked, sealed or not", async () => {
  const { vault, shares } = await aSharedVault(3, 2);
  const foreign = await aSharedVault(3, 2);
  const secrets = (texts: readonly string[]): readonly Secret<string>[] =>
    texts.map((text) => new Secret(text));
  expect(await vault.isOpenedBy(secrets(shares))).toBe(true);
  expect(await vault.isOpenedBy(secrets(shares.slice(1)))).toBe(true);
  expect(await vault.isOpenedBy(secrets(shares.slice(2)))).toBe(false);
  expect(await vault.isOpenedBy(secrets(foreign.shares))).toBe(false);
  expect(await vault.isOpenedBy(secrets(["x"]))).toBe(false);
  await vault.seal();
  expect(await vault.isOpenedBy(secrets(shares))).toBe(true);
  expect(vault.status()).toMatchObject({ sealed: true, progress: 0 });
});
