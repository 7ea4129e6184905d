import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";

import { aSharedVault, reopenVault } from "../testing/a-shared-vault.js";

test.each([
  { name: "nothing", data: {}, text: "shares must be at least one" },
  { name: "no threshold", data: { secret_shares: 5 }, text: "threshold must be at least one" },
  { name: "1 of 5", data: { secret_shares: 5, secret_threshold: 1 }, text: "greater than one" },
  { name: "6 of 5", data: { secret_shares: 5, secret_threshold: 6 }, text: "larger" },
  { name: "256 of 256", data: { secret_shares: 256, secret_threshold: 256 }, text: "at most 255" },
  { name: "a PGP key", data: { secret_shares: 1, secret_threshold: 1, pgp_keys: ["k"] }, text: "pgp_keys" },
  {
    name: "a PGP key for the token",
    data: { secret_shares: 1, secret_threshold: 1, root_token_pgp_key: "k" },
    text: "root_token_pgp_key",
  },
  {
    name: "recovery shares",
    data: { secret_shares: 1, secret_threshold: 1, recovery_shares: 5, recovery_threshold: 3 },
    text: "recovery_shares",
  },
])("initialising with $name is refused and leaves nothing", async ({ data, text }) => {
  const vault = await reopenVault({ storage: memoryStorage() });
  const write = vault.write("", "sys/init", data);
  await expect(write).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringContaining(text) as string,
  });
  expect((await vault.read("", "sys/init"))?.data).toEqual({ initialized: false });
});

test("initialising as hvac and the bao command do it, with null and nothing for the rest", async () => {
  const vault = await reopenVault({ storage: memoryStorage() });
  const answer = await vault.write("", "sys/init", {
    secret_shares: 3,
    secret_threshold: 2,
    stored_shares: null,
    pgp_keys: [],
    root_token_pgp_key: null,
    recovery_shares: 0,
    recovery_threshold: 0,
    recovery_pgp_keys: null,
  });
  expect(answer?.data).toMatchObject({
    keys: [expect.stringMatching(/^[0-9a-f]{66}$/), expect.anything(), expect.anything()],
    keys_base64: [expect.anything(), expect.anything(), expect.anything()],
    root_token: expect.stringMatching(/^hvs\./),
  });
  await expect(vault.write("", "sys/init", { secret_shares: 1, secret_threshold: 1 })).rejects.toMatchObject({
    code: "ALREADY_EXISTS",
  });
});

test("unsealing takes hex or base64, begins anew on request, and cannot migrate", async () => {
  const { vault, shares } = await aSharedVault(3, 2);
  await vault.seal();
  const write = async (data: Record<string, unknown>): Promise<unknown> =>
    (await vault.write("", "sys/unseal", data))?.data;
  await expect(write({})).rejects.toThrow("'key' must be specified");
  await expect(write({ key: shares[0], migrate: true })).rejects.toThrow("migrate");
  expect(await write({ key: shares[0] })).toMatchObject({ progress: 1, sealed: true, migration: false });
  expect(await write({ reset: true })).toMatchObject({ progress: 0, nonce: "" });
  await write({ key: Buffer.from(shares[1] ?? "", "base64").toString("hex") });
  expect(await write({ key: shares[2], reset: false, migrate: null })).toMatchObject({ sealed: false, t: 2 });
  expect(await write({ key: shares[2] })).toMatchObject({ sealed: false });
});

test("who asks for a cluster of vaults hears that this one is alone", async () => {
  const { vault, root } = await aSharedVault(1, 1);
  expect((await vault.read("", "sys/leader"))?.data).toMatchObject({ ha_enabled: false, is_self: true });
  expect((await vault.read(root, "sys/ha-status"))?.data).toMatchObject({
    nodes: [{ active_node: true }],
  });
  expect(await vault.write(root, "sys/step-down", {})).toBeUndefined();
  expect((await vault.read("", "sys/replication/status"))?.data).toEqual({ mode: "disabled" });
  await expect(vault.read(root, "sys/license/status")).rejects.toMatchObject({ code: "NOT_FOUND" });
  await vault.seal();
  await expect(vault.read("", "sys/leader")).rejects.toMatchObject({ code: "VAULT_SEALED" });
  await expect(vault.read(root, "sys/ha-status")).rejects.toMatchObject({ code: "VAULT_SEALED" });
});
