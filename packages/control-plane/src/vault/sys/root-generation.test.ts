import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";

import { aSharedVault, reopenVault } from "../testing/a-shared-vault.js";
import { decodeRootToken } from "../seal/root-generation.js";

test.each(["sys/generate-root", "sys/generate-root-token"])(
  "%s: enough shares give a root token that only the one-time password unmasks",
  async (path) => {
    const { vault, root, shares, write, read, give } = await aSharedVault(3, 2);
    const idle = {
      nonce: "",
      started: false,
      progress: 0,
      required: 2,
      complete: false,
      encoded_token: "",
      encoded_root_token: "",
      pgp_fingerprint: "",
      otp: "",
      otp_length: 47,
    };
    expect(await read(`${path}/attempt`)).toEqual(idle);
    const { nonce, otp } = await write(`${path}/attempt`, { otp: "", pgp_key: "" });
    expect(String(otp)).toMatch(/^[0-9A-Za-z]{47}$/);
    expect(await read(`${path}/attempt`)).toEqual({ ...idle, nonce, started: true });
    expect(await give(`${path}/update`, shares.slice(0, 1), nonce)).toMatchObject({ progress: 1 });
    const done = await give(`${path}/update`, shares.slice(2), nonce);
    expect(done).toMatchObject({ complete: true, progress: 2, required: 2, started: true, otp: "" });
    const encoded = String(done["encoded_token"]);
    expect(encoded).not.toContain("=");
    expect(done["encoded_root_token"]).toBe(encoded);
    const token = decodeRootToken(encoded, String(otp));
    expect((await vault.read(token, "auth/token/lookup-self"))?.data).toMatchObject({
      policies: ["root"],
      ttl: 0,
      orphan: true,
    });
    expect((await vault.write("", "sys/decode-token", { encoded_token: encoded, otp }))?.data).toEqual({
      token: token.reveal(),
    });
    await vault.write(root, "auth/token/revoke-self", {});
    expect((await vault.read(token, `${path}/attempt`))?.data).toEqual(idle);
  },
);

test("a password of one's own is used, not repeated, and must be as long as a token", async () => {
  const { shares, write, give, read, vault } = await aSharedVault(1, 1);
  for (const otp of ["short", "x".repeat(48), "é".repeat(47), `${"x".repeat(46)} `]) {
    await expect(write("sys/generate-root/attempt", { otp })).rejects.toThrow("one-time password");
  }
  await expect(write("sys/generate-root/attempt", { pgp_key: "k" })).rejects.toThrow("pgp_key");
  const otp = "ab".repeat(23) + "c";
  const begun = await write("sys/generate-root/attempt", { otp });
  expect(begun["otp"]).toBe("");
  await expect(write("sys/generate-root/attempt", { otp })).rejects.toThrow("in progress");
  const done = await give("sys/generate-root/update", shares, begun["nonce"]);
  const token = decodeRootToken(String(done["encoded_token"]), otp);
  expect((await vault.read(token, "auth/token/lookup-self"))?.data).toMatchObject({ display_name: "root" });
  expect(await read("sys/generate-root/attempt")).toMatchObject({ started: false });
});

test("shares of another vault make no token; the right ones still do", async () => {
  const { shares, write, give, read } = await aSharedVault(3, 2);
  const foreign = await aSharedVault(3, 2);
  const { nonce } = await write("sys/generate-root/attempt");
  const mixed = [shares[0] ?? "", foreign.shares[1] ?? ""];
  await expect(give("sys/generate-root/update", mixed, nonce)).rejects.toMatchObject({
    code: "UNSEAL_KEY_INVALID",
  });
  expect(await read("sys/generate-root/attempt")).toMatchObject({ progress: 0, nonce, started: true });
  const same = [shares[0] ?? "", shares[0] ?? ""];
  expect(await give("sys/generate-root/update", same, nonce)).toMatchObject({ progress: 1 });
  expect(await give("sys/generate-root/update", shares.slice(1, 2), nonce)).toMatchObject({ complete: true });
});

test("another nonce, none, and no attempt are refused; cancelling and sealing forget it", async () => {
  const { shares, write, read, vault, root } = await aSharedVault(1, 1);
  const [key] = shares;
  await expect(write("sys/generate-root/update", { key, nonce: "x" })).rejects.toThrow("in progress");
  const { nonce } = await write("sys/generate-root/attempt");
  await expect(write("sys/generate-root/update", { key })).rejects.toThrow("nonce");
  await expect(write("sys/generate-root/update", { nonce })).rejects.toThrow("key");
  expect(await vault.delete(root, "sys/generate-root/attempt")).toBeUndefined();
  await expect(write("sys/generate-root/update", { key, nonce })).rejects.toThrow("in progress");
  await write("sys/generate-root/attempt");
  await vault.seal();
  await vault.unseal(key ?? "");
  expect(await read("sys/generate-root/attempt")).toMatchObject({ started: false });
});

test("of the last share given ten times at once one makes a token", async () => {
  const { shares, write } = await aSharedVault(1, 1);
  const { nonce } = await write("sys/generate-root/attempt");
  const given = await Promise.allSettled(
    Array.from({ length: 10 }, () => write("sys/generate-root/update", { key: shares[0], nonce })),
  );
  expect(given.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

test("a token that could not be stored was never handed out, and can be asked for again", async () => {
  const { storage, shares, write, give } = await aSharedVault(1, 1);
  const { nonce } = await write("sys/generate-root/attempt");
  storage.plan({ at: 1, written: false });
  await expect(give("sys/generate-root/update", shares, nonce)).rejects.toMatchObject({
    code: "STORAGE_UNWRITABLE",
  });
  storage.plan(undefined);
  expect(await give("sys/generate-root/update", shares, nonce)).toMatchObject({ complete: true });
});

test("with a key file the key itself is the one share", async () => {
  const vault = await reopenVault({ storage: memoryStorage() });
  const unsealKey = new Uint8Array(32).fill(7);
  const { rootToken } = await vault.init({ unsealKey });
  await vault.unseal(unsealKey);
  const begun = await vault.write(rootToken, "sys/generate-root/attempt", {});
  const key = Buffer.from(unsealKey).toString("hex");
  const answer = await vault.write(rootToken, "sys/generate-root/update", {
    key,
    nonce: begun?.data?.["nonce"],
  });
  expect(answer?.data).toMatchObject({ complete: true });
});

test("it takes sudo", async () => {
  const { vault, write, root } = await aSharedVault(1, 1);
  await write("sys/policies/acl/p", {
    policy: `path "sys/*" { capabilities = ["create", "read", "update"] }`,
  });
  const made = await vault.write(root, "auth/token/create", { policies: ["p"] });
  const token = made?.auth?.client_token ?? "";
  for (const prefix of ["sys/generate-root", "sys/generate-root-token"]) {
    for (const given of [token, ""]) {
      const refused = { code: "PERMISSION_DENIED" };
      await expect(vault.read(given, `${prefix}/attempt`)).rejects.toMatchObject(refused);
      await expect(vault.write(given, `${prefix}/attempt`, {})).rejects.toMatchObject(refused);
      await expect(vault.write(given, `${prefix}/update`, { key: "k" })).rejects.toMatchObject(refused);
    }
  }
});

test.each([
  { encoded: "", otp: "" },
  { encoded: "AAAA", otp: "ab" },
  { encoded: "!!!!", otp: "abc" },
])("an encoded token $encoded with the password $otp is refused", ({ encoded, otp }) => {
  expect(() => decodeRootToken(encoded, otp)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
});
