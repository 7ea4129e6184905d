import { createPrivateKey, sign } from "node:crypto";

import { loginProofTranscript, parseJoinToken } from "@rk8s/protocol";
import { expect, test } from "vitest";

import { JoinTokenStore } from "../join/join-token-store.js";
import { MemoryAudit } from "../join/testing/memory-audit.js";
import { joinTokenKeys } from "../lifecycle/join-token-keys.js";
import { CrashingStorage, everyCrash } from "../vault/testing/crashing-storage.js";
import { approleLogin } from "./approle/approle-backend.js";
import { joinTokenLogin } from "./join-token/join-token-backend.js";
import { aLoginVault, type LoginVault } from "./testing/login-vault.js";

/** A login with something that is good for one. */
interface Single {
  readonly vault: LoginVault;
  readonly disk: CrashingStorage;
  readonly logIn: () => Promise<unknown>;
  readonly isUsed: () => Promise<boolean>;
}

async function aSecretIdForOne(role: Readonly<Record<string, unknown>>): Promise<Single> {
  const disk = new CrashingStorage();
  const vault = await aLoginVault("approle", (clock) => approleLogin({ clock }), { storage: disk });
  await vault.ask("update", "role/web", { role_id: "web", secret_id_num_uses: 1, ...role });
  const made = (await vault.ask("update", "role/web/secret-id")) as { readonly secret_id: string };
  return {
    vault,
    disk,
    logIn: () => vault.login({ role_id: "web", secret_id: made.secret_id }),
    isUsed: async () => (await vault.ask("list", "role/web/secret-id")) === undefined,
  };
}

async function aJoinTokenForOne(): Promise<Single> {
  const disk = new CrashingStorage();
  const make = (clock: Parameters<Parameters<typeof aLoginVault>[1]>[0]): ReturnType<typeof joinTokenLogin> =>
    joinTokenLogin({ clock, keys: (barrier) => joinTokenKeys(barrier, { clock }) });
  const vault = await aLoginVault("join-token", make, { storage: disk });
  await vault.ask("update", "role/node", { bound_token_roles: "node" });
  const tokens = (): JoinTokenStore =>
    new JoinTokenStore({
      barrier: vault.vault.barrier,
      audit: new MemoryAudit(),
      clock: vault.clock,
      policies: vault.vault.policies,
      rootSpkiSha256: () => new Uint8Array(32),
    });
  const { token } = await tokens().create({ node: "worker-1" }, { actor: "test" });
  const { id, seed } = parseJoinToken(token.reveal());
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed.reveal()]);
  const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  return {
    vault,
    disk,
    logIn: async () => {
      const answer = (await vault.ask("update", "challenge", { token_id: id })) as { readonly nonce: string };
      const { nonce } = answer;
      const transcript = loginProofTranscript({ mount: "auth/join-token/", tokenId: id, nonce, role: "" });
      return vault.login({ token_id: id, nonce, proof: sign(null, transcript, key).toString("base64url") });
    },
    isUsed: async () => (await tokens().list())[0]?.usedCount === 1,
  };
}

async function tokensOf({ vault }: LoginVault): Promise<number> {
  return (await vault.barrier.list("token/id/")).entries.length;
}

const METHODS = [
  { name: "a secret id", make: () => aSecretIdForOne({}), isStored: true },
  {
    name: "a secret id for batch tokens",
    make: () => aSecretIdForOne({ token_type: "batch" }),
    isStored: false,
  },
  { name: "a node's join token", make: aJoinTokenForOne, isStored: true },
];

test.each(METHODS)(
  "of fifty logins with $name for one exactly one gets a token",
  async ({ make, isStored }) => {
    const single = await make();
    await using vault = single.vault;
    const before = await tokensOf(vault);
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => single.logIn()));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect((await tokensOf(vault)) - before).toBe(isStored ? 1 : 0);
    expect(await single.isUsed()).toBe(true);
  },
);

test.each(METHODS)(
  "a crash during a login with $name uses it up with its token or not at all",
  async (method) => {
    const { make, isStored } = method;
    const first = await make();
    first.disk.plan(undefined);
    await first.logIn();
    const crashes = everyCrash(first.disk.transactions);
    await first.vault[Symbol.asyncDispose]();
    for (const crash of crashes) {
      const single = await make();
      await using vault = single.vault;
      const before = await tokensOf(vault);
      single.disk.plan(crash);
      await expect(single.logIn()).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
      single.disk.plan(undefined);
      await vault.vault.seal();
      await vault.vault.unseal(vault.share);
      const isUsed = await single.isUsed();
      const made = (await tokensOf(vault)) - before;
      expect({ crash, made }).toEqual({ crash, made: isUsed && isStored ? 1 : 0 });
      if (!isUsed) await single.logIn();
    }
  },
);

test.each(METHODS)("a login with $name that the vault refuses uses nothing up", async ({ make }) => {
  const single = await make();
  await using vault = single.vault;
  // The entity is made first, and the login ends there.
  single.disk.plan({ at: 2, written: false });
  await expect(single.logIn()).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
  single.disk.plan(undefined);
  const names = (await vault.vault.list(vault.root, "identity/entity/name"))?.data?.["keys"];
  const path = `identity/entity/name/${String(names)}`;
  await vault.vault.write(vault.root, path, { disabled: true });
  await expect(single.logIn()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  expect(await single.isUsed()).toBe(false);
  await vault.vault.write(vault.root, path, { disabled: false });
  await single.logIn();
});
