import { createPrivateKey, sign } from "node:crypto";

import { loginProofTranscript, parseJoinToken } from "@rk8s/protocol";
import { expect, test } from "vitest";

import { JoinTokenStore } from "../../join/join-token-store.js";
import type { JoinTokenRequest } from "../../join/join-token-store.js";
import { MemoryAudit } from "../../join/testing/memory-audit.js";
import { joinTokenKeys } from "../../lifecycle/join-token-keys.js";
import type { Connection, JsonObject } from "../../vault/backend.js";
import type { VaultAuth } from "../../vault/request.js";
import { aLoginVault, type LoginVault } from "../testing/login-vault.js";
import { joinTokenLogin } from "./join-token-backend.js";

const MOUNT = "auth/join-token/";
const ACTOR = { actor: "test" };

interface Held {
  readonly id: string;
  /** What the holder signs a transcript with, as base64url. */
  readonly sign: (bytes: Uint8Array) => string;
}

interface JoinTokenVault extends LoginVault {
  readonly tokens: JoinTokenStore;
  readonly make: (request?: JoinTokenRequest) => Promise<Held>;
  readonly challenge: (id: string) => Promise<string>;
  /** Challenge and login as a client does them. */
  readonly prove: (held: Held, role?: string, connection?: Connection) => Promise<VaultAuth>;
}

async function aJoinTokenVault(role: JsonObject = {}): Promise<JoinTokenVault> {
  const vault = await aLoginVault("join-token", (clock) =>
    joinTokenLogin({ clock, keys: (barrier) => joinTokenKeys(barrier, { clock }) }),
  );
  await vault.ask("update", "role/operator", { token_policies: "ops", ...role });
  const tokens = new JoinTokenStore({
    barrier: vault.vault.barrier,
    audit: new MemoryAudit(),
    clock: vault.clock,
    policies: vault.vault.policies,
    rootSpkiSha256: () => new Uint8Array(32),
  });
  const challenge = async (id: string): Promise<string> => {
    const request = { operation: "update", path: `${MOUNT}challenge`, data: { token_id: id } } as const;
    const answer = await vault.vault.handle(request);
    expect(answer?.data).toMatchObject({ mount: MOUNT, ttl: 60 });
    const nonce = answer?.data?.["nonce"];
    return typeof nonce === "string" ? nonce : "";
  };
  return {
    ...vault,
    tokens,
    challenge,
    make: async (request = { role: "operator" }) => {
      const { token } = await tokens.create(request, ACTOR);
      const { id, seed } = parseJoinToken(token.reveal());
      const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed.reveal()]);
      const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
      return { id, sign: (bytes) => sign(null, bytes, key).toString("base64url") };
    },
    prove: async (held, asked, connection) => {
      const nonce = await challenge(held.id);
      const transcript = { mount: MOUNT, tokenId: held.id, nonce, role: asked ?? "" };
      const proof = held.sign(loginProofTranscript(transcript));
      const data = { token_id: held.id, nonce, proof, ...(asked === undefined ? {} : { role: asked }) };
      return vault.login(data, connection);
    },
    [Symbol.asyncDispose]: () => vault[Symbol.asyncDispose](),
  };
}

test("an operator's join token logs in by a signature, as often as its holder likes", async () => {
  await using vault = await aJoinTokenVault({ token_ttl: "1h" });
  const held = await vault.make();
  for (let count = 0; count < 3; count += 1) {
    expect(await vault.prove(held)).toMatchObject({
      policies: ["default", "ops"],
      lease_duration: 3600,
      metadata: { node: "", role: "operator", token_id: held.id, token_role: "operator" },
    });
  }
});

test("what a login gives ends with the join token and is not renewed once that is revoked", async () => {
  await using vault = await aJoinTokenVault();
  const held = await vault.make({ role: "operator", ttlSeconds: 600 });
  vault.advanceSeconds(100);
  const { client_token: token, lease_duration } = await vault.prove(held);
  expect(lease_duration).toBe(500);
  const renew = (): Promise<unknown> =>
    vault.vault.write(token, "auth/token/renew-self", { increment: "10h" });
  vault.advanceSeconds(100);
  expect(await renew()).toMatchObject({ auth: { lease_duration: 400 } });
  await vault.tokens.revoke(held.id, ACTOR);
  await expect(renew()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  await expect(vault.prove(held)).rejects.toMatchObject({ code: "JOIN_TOKEN_REVOKED" });
});

test("an expired join token says so to its holder only", async () => {
  await using vault = await aJoinTokenVault();
  const held = await vault.make({ role: "operator", ttlSeconds: 60 });
  vault.advanceSeconds(60);
  await expect(vault.prove(held)).rejects.toMatchObject({ code: "JOIN_TOKEN_EXPIRED" });
  const other = await vault.make();
  await expect(vault.prove({ ...other, id: held.id })).rejects.toMatchObject({ code: "JOIN_TOKEN_INVALID" });
});

test("an unknown token and a proof by another key are the same", async () => {
  await using vault = await aJoinTokenVault();
  const [one, other] = [await vault.make(), await vault.make()];
  const errors = await Promise.all(
    [
      { ...other, id: one.id },
      { ...other, id: "00000000000000ff" },
    ].map((held) =>
      vault.prove(held).catch((reason: unknown) => (reason as Error).message.replace(held.id, "ID")),
    ),
  );
  expect(errors).toEqual([`join token "ID" is not valid`, `join token "ID" is not valid`]);
});

test("a proof counts once, in its time, for its mount, token and role", async () => {
  await using vault = await aJoinTokenVault();
  const held = await vault.make();
  const nonce = await vault.challenge(held.id);
  const good = { mount: MOUNT, tokenId: held.id, nonce, role: "" };
  const attempt = (signed: Partial<typeof good>, sent: JsonObject = {}): Promise<unknown> => {
    const proof = held.sign(loginProofTranscript({ ...good, ...signed }));
    return vault.login({ token_id: held.id, nonce, proof, ...sent });
  };
  const invalid = { code: "JOIN_TOKEN_INVALID" };
  await expect(attempt({ mount: "auth/other/" })).rejects.toMatchObject(invalid);
  await expect(attempt({ role: "admin" })).rejects.toMatchObject(invalid);
  await expect(attempt({}, { role: "admin" })).rejects.toMatchObject(invalid);
  const twice = await Promise.allSettled(Array.from({ length: 20 }, () => attempt({})));
  expect(twice.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  await expect(attempt({})).rejects.toMatchObject({ code: "NONCE_EXPIRED" });
  const late = await vault.challenge(held.id);
  vault.advanceSeconds(60);
  await expect(attempt({ nonce: late }, { nonce: late })).rejects.toMatchObject({ code: "NONCE_EXPIRED" });
});

test.each([
  { name: "made up", nonce: "A".repeat(72) },
  { name: "short", nonce: "A" },
  { name: "no base64url", nonce: "!".repeat(72) },
])("a nonce that is $name is refused", async ({ nonce }) => {
  await using vault = await aJoinTokenVault();
  const held = await vault.make();
  const proof = held.sign(loginProofTranscript({ mount: MOUNT, tokenId: held.id, nonce, role: "" }));
  await expect(vault.login({ token_id: held.id, nonce, proof })).rejects.toMatchObject({
    code: "NONCE_EXPIRED",
  });
});

test("a nonce is for one token", async () => {
  await using vault = await aJoinTokenVault();
  const [one, other] = [await vault.make(), await vault.make()];
  const nonce = await vault.challenge(other.id);
  const proof = one.sign(loginProofTranscript({ mount: MOUNT, tokenId: one.id, nonce, role: "" }));
  await expect(vault.login({ token_id: one.id, nonce, proof })).rejects.toMatchObject({
    code: "NONCE_EXPIRED",
  });
});

test("a node's token logs in only with a role for nodes, and each login is a use", async () => {
  await using vault = await aJoinTokenVault();
  await vault.ask("update", "role/node", { bound_token_roles: "node", bound_node_names: "worker-*" });
  const held = await vault.make({ node: "worker-1", uses: 3 });
  await expect(vault.prove(held, "operator")).rejects.toMatchObject({ code: "JOIN_TOKEN_SCOPE" });
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => vault.prove(held)));
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
  await expect(vault.prove(held)).rejects.toMatchObject({ code: "JOIN_TOKEN_USED" });
  const [listed] = await vault.tokens.list();
  expect(listed).toMatchObject({ usedCount: 3, status: "used" });
  const other = await vault.make({ node: "store-1" });
  await expect(vault.prove(other)).rejects.toMatchObject({ code: "JOIN_TOKEN_SCOPE" });
  const anyNode = await vault.make({});
  await expect(vault.prove(anyNode)).rejects.toMatchObject({ code: "JOIN_TOKEN_SCOPE" });
  expect((await vault.tokens.list()).filter(({ usedCount }) => usedCount > 0)).toHaveLength(1);
});

test("a login from outside the token's or the role's network costs no use", async () => {
  await using vault = await aJoinTokenVault();
  await vault.ask("update", "role/node", { bound_token_roles: "node", token_bound_cidrs: "10.1.0.0/16" });
  const held = await vault.make({ cidr: "10.0.0.0/8" });
  for (const remoteAddress of ["192.0.2.1", "10.2.0.1"]) {
    await expect(vault.prove(held, "node", { remoteAddress })).rejects.toMatchObject({
      code: "JOIN_TOKEN_SCOPE",
    });
  }
  await vault.prove(held, "node", { remoteAddress: "10.1.0.1" });
});

test.each([
  { name: "a whole token as id", data: { token_id: `rkj1.${"a".repeat(50)}`, nonce: "x", proof: "x" } },
  { name: "a short proof", data: { token_id: "00000000000000ff", proof: "AAAA" } },
  { name: "no proof", data: { token_id: "00000000000000ff" } },
])("$name is refused", async ({ data }) => {
  await using vault = await aJoinTokenVault();
  const nonce = await vault.challenge("00000000000000ff");
  await expect(vault.login({ nonce, ...data })).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a role is read back, and one for what is no join token's role is refused", async () => {
  await using vault = await aJoinTokenVault();
  expect(await vault.ask("read", "role/operator")).toMatchObject({
    bound_node_names: [],
    bound_token_roles: ["operator"],
    token_policies: ["ops"],
  });
  await expect(vault.ask("update", "role/x", { bound_token_roles: "admin" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});
