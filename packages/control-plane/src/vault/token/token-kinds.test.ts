import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";

import type { JsonObject } from "../backend.js";
import { anUnsealedVault, type TestVault } from "../testing/unsealed-vault.js";
import type { VaultAuth } from "../request.js";

const denied = { code: "PERMISSION_DENIED" };
const invalid = { code: "INPUT_INVALID" };

async function create(
  { vault, root }: TestVault,
  data: JsonObject,
  { token = root.reveal(), path = "create" } = {},
): Promise<VaultAuth> {
  const auth = (await vault.write(token, `auth/token/${path}`, data))?.auth;
  if (auth === null || auth === undefined) throw new TypeError("no token was made");
  return auth;
}

async function lookup({ vault }: TestVault, token: string): Promise<JsonObject> {
  return (await vault.read(token, "auth/token/lookup-self"))?.data ?? {};
}

async function allow({ vault, root }: TestVault, name: string, capabilities: string): Promise<void> {
  const policy = `path "auth/token/*" { capabilities = [${capabilities}] }`;
  await vault.write(root, `sys/policies/acl/${name}`, { policy });
}

test("a batch token is its own entry: nothing is stored, it works, and nothing can be changed about it", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  const before = vault.sequence;
  const auth = await create(subject, { type: "batch", policies: ["web"], ttl: "60s", meta: { team: "a" } });
  expect(vault.sequence).toBe(before);
  expect(auth).toMatchObject({
    accessor: "",
    token_type: "batch",
    renewable: false,
    orphan: false,
    num_uses: 0,
  });
  const token = auth.client_token;
  expect(token).toMatch(/^hvb\./);
  expect(await lookup(subject, token)).toMatchObject({
    type: "batch",
    meta: { team: "a" },
    ttl: 60,
    accessor: "",
  });
  await expect(vault.write(token, "auth/token/renew-self", {})).rejects.toMatchObject(invalid);
  await expect(vault.write(root, "auth/token/renew", { token })).rejects.toMatchObject(invalid);
  await expect(vault.write(root, "auth/token/revoke", { token })).rejects.toMatchObject(invalid);
  await expect(vault.write(token, "auth/token/create", {})).rejects.toMatchObject(denied);
  subject.advanceSeconds(60);
  await expect(lookup(subject, token)).rejects.toMatchObject(denied);
});

test("a batch token ends with its parent, an orphan does not", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `"update", "sudo"`);
  const parent = (await create(subject, { policies: ["make"] })).client_token;
  const child = await create(subject, { type: "batch" }, { token: parent });
  const orphan = await create(subject, { type: "batch", no_parent: true }, { token: parent });
  await subject.vault.write(subject.root, "auth/token/revoke", { token: parent });
  await expect(lookup(subject, child.client_token)).rejects.toMatchObject(denied);
  expect(await lookup(subject, orphan.client_token)).toMatchObject({ orphan: true });
});

test("a batch token that was changed in any place, cut or lengthened is none, nor one of another vault", async () => {
  await using subject = await anUnsealedVault();
  await using other = await anUnsealedVault();
  const token = (await create(subject, { type: "batch", policies: ["web"] })).client_token;
  const wrong = [
    token.slice(0, -1),
    `${token}A`,
    `${token}=`,
    token.replace("hvb.", "hvs."),
    "hvb.",
    `hvb.${"A".repeat(100)}`,
    `hvb.${"A".repeat(100_000)}`,
    (await create(other, { type: "batch", policies: ["web"] })).client_token,
    ...Array.from({ length: 40 }, (_, index) => {
      const at = 4 + index * Math.floor((token.length - 4) / 40);
      return token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    }),
  ];
  for (const text of wrong) await expect(lookup(subject, text)).rejects.toMatchObject(denied);
  expect(await lookup(subject, token)).toBeDefined();
});

test.each([
  { name: "num_uses", data: { num_uses: 1 }, message: 'batch tokens cannot have "num_uses" set' },
  { name: "a period", data: { period: "1h" } },
  { name: "an explicit_max_ttl", data: { explicit_max_ttl: "1h" } },
  { name: "an id", data: { id: "mine" } },
  { name: "root", data: { policies: ["root"] } },
  {
    name: "more metadata than fits",
    data: { meta: Object.fromEntries(Array.from({ length: 60 }, (_, key) => [`k${key}`, "x".repeat(1000)])) },
  },
])("a batch token with $name is refused", async ({ data, message }) => {
  await using subject = await anUnsealedVault();
  const asked = create(subject, { policies: ["web"], ...data, type: "batch" });
  await expect(asked).rejects.toMatchObject(message === undefined ? invalid : { ...invalid, message });
});

test("a periodic token lives on as long as it is renewed, whatever is asked for, and no longer than its maximum", async () => {
  await using subject = await anUnsealedVault();
  const { vault } = subject;
  const auth = await create(subject, {
    policies: ["web"],
    period: "1h",
    explicit_max_ttl: "250m",
    ttl: "5s",
  });
  expect(auth.lease_duration).toBe(3600);
  const token = auth.client_token;
  expect(await lookup(subject, token)).toMatchObject({ period: 3600 });
  const left: unknown[] = [];
  for (let renewals = 0; renewals < 4; renewals += 1) {
    subject.advanceSeconds(3000);
    const renewed = await vault.write(token, "auth/token/renew-self", { increment: 7200 });
    left.push(renewed?.auth?.lease_duration);
  }
  expect(left).toEqual([3600, 3600, 3600, 3000]);
  subject.advanceSeconds(3000);
  await expect(lookup(subject, token)).rejects.toMatchObject(denied);
});

test("a chosen id takes sudo, is taken once and makes no other spelling of a token", async () => {
  await using subject = await anUnsealedVault();
  expect((await create(subject, { id: "my-token", policies: ["web"] })).client_token).toBe("my-token");
  await expect(create(subject, { id: "my-token" })).rejects.toMatchObject(invalid);
  await allow(subject, "make", `"update"`);
  const token = (await create(subject, { policies: ["make"] })).client_token;
  await expect(create(subject, { id: "other" }, { token })).rejects.toMatchObject(denied);
  await expect(create(subject, { period: "1h" }, { token })).rejects.toMatchObject(denied);
  for (const id of ["hvs.x", "hvb.x", "s.x", "a b", "x".repeat(129), "\u0000"]) {
    await expect(create(subject, { id })).rejects.toMatchObject(invalid);
  }
});

test("of 20 who choose the same id at once one gets it", async () => {
  await using subject = await anUnsealedVault();
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, () => create(subject, { id: "mine", policies: ["web"] })),
  );
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

test("create-orphan makes orphans without sudo", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `"update"`);
  const parent = (await create(subject, { policies: ["make"] })).client_token;
  const orphan = await create(subject, {}, { token: parent, path: "create-orphan" });
  expect(orphan.orphan).toBe(true);
  await subject.vault.write(subject.root, "auth/token/revoke", { token: parent });
  expect(await lookup(subject, orphan.client_token)).toMatchObject({ path: "auth/token/create-orphan" });
});

test("revoke-orphan leaves the children alive, and theirs", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `"update"`);
  const parent = (await create(subject, { policies: ["make"] })).client_token;
  const child = (await create(subject, {}, { token: parent })).client_token;
  const deeper = (await create(subject, {}, { token: child })).client_token;
  await expect(
    subject.vault.write(parent, "auth/token/revoke-orphan", { token: parent }),
  ).rejects.toMatchObject(denied);
  await subject.vault.write(subject.root, "auth/token/revoke-orphan", { token: parent });
  await expect(lookup(subject, parent)).rejects.toMatchObject(denied);
  expect(await lookup(subject, child)).toMatchObject({ orphan: true });
  expect(await lookup(subject, deeper)).toMatchObject({ orphan: false });
  await subject.vault.write(subject.root, "auth/token/revoke", { token: child });
  await expect(lookup(subject, deeper)).rejects.toMatchObject(denied);
});

test("a token that makes children while it is revoked leaves none alive", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `"update"`);
  const parent = (await create(subject, { policies: ["make"] })).client_token;
  const children = Promise.allSettled(
    Array.from({ length: 20 }, () => create(subject, {}, { token: parent })),
  );
  await subject.vault.write(subject.root, "auth/token/revoke", { token: parent });
  const outcomes = (await children).map(async (result) => {
    if (result.status === "rejected") return RksError.from(result.reason).code;
    return lookup(subject, result.value.client_token).catch((reason: unknown) => RksError.from(reason).code);
  });
  expect(new Set(await Promise.all(outcomes))).toEqual(new Set(["PERMISSION_DENIED"]));
  const { entries } = await subject.vault.barrier.list("token/id/");
  expect(entries).toHaveLength(1);
  expect((await subject.vault.barrier.list("token/child/")).entries).toEqual([]);
});

test("accessors list all living tokens and need sudo", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  await allow(subject, "make", `"update", "list"`);
  const made = await create(subject, { policies: ["make"], ttl: "1h" });
  await create(subject, { policies: ["web"], ttl: "1s" });
  const rootAccessor = (await lookup(subject, root.reveal()))["accessor"];
  subject.clock.jump(2000);
  const keys = (await vault.list(root, "auth/token/accessors"))?.data?.["keys"];
  expect(new Set(keys as string[])).toEqual(new Set([made.accessor, rootAccessor]));
  await expect(vault.list(made.client_token, "auth/token/accessors")).rejects.toMatchObject(denied);
  const renewed = await vault.write(root, "auth/token/renew-accessor", { accessor: made.accessor });
  expect(renewed?.auth).toMatchObject({ client_token: "", lease_duration: 3600 });
});

test("lookup and renew are about the request's own token when they name none", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `"update", "read"`);
  const { client_token: token, accessor } = await create(subject, { policies: ["make"], ttl: "1h" });
  for (const answer of [
    await subject.vault.read(token, "auth/token/lookup"),
    await subject.vault.read(subject.root, "auth/token/lookup", { token }),
    await subject.vault.write(token, "auth/token/lookup", {}),
  ]) {
    expect(answer?.data).toMatchObject({ id: token, accessor });
  }
  expect((await subject.vault.write(token, "auth/token/renew", {}))?.auth?.accessor).toBe(accessor);
});

test("a token bound to networks is good from there alone, and so are its children", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  await allow(subject, "make", `"update", "read"`);
  await vault.write(root, "auth/token/roles/near", {
    allowed_policies: ["make"],
    token_bound_cidrs: "10.0.0.0/8, ::1",
  });
  const { client_token: clientToken } = await create(subject, {}, { path: "create/near" });
  const ask = (remoteAddress?: string, token = clientToken): Promise<unknown> =>
    vault.handle({
      operation: "update",
      path: "auth/token/create",
      clientToken: token,
      ...(remoteAddress === undefined ? {} : { connection: { remoteAddress } }),
    });
  for (const near of ["10.1.2.3", "::ffff:10.1.2.3", "::1"]) expect(await ask(near)).toBeDefined();
  for (const far of ["11.1.2.3", "::2", "10.1", "nonsense", undefined]) {
    await expect(ask(far)).rejects.toMatchObject(denied);
  }
  const child = ((await ask("::1")) as { auth: VaultAuth }).auth.client_token;
  await expect(ask("11.1.2.3", child)).rejects.toMatchObject(denied);
});

test("tidy removes what points to no token, once at a time", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  const key = `token/accessor/${"0".repeat(64)}`;
  await vault.barrier.transaction([], [{ type: "put", key, value: Buffer.from("f".repeat(64)) }]);
  const token = await subject.tokenWith({ policies: ["web"] });
  expect((await vault.write(root, "auth/token/tidy", {}))?.warnings).toHaveLength(1);
  await vault.write(root, "sys/leases/tidy", {});
  for (let turn = 0; turn < 500; turn += 1) await Promise.resolve();
  expect(await vault.barrier.get(key)).toBeUndefined();
  expect(await lookup(subject, token)).toBeDefined();
});

test("two hundred tokens are made and revoked with their parent", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `"update"`);
  const parent = (await create(subject, { policies: ["make"] })).client_token;
  const before = (await subject.vault.barrier.list("token/id/")).entries.length;
  for (let done = 0; done < 200; done += 100) {
    await Promise.all(Array.from({ length: 100 }, () => create(subject, {}, { token: parent })));
  }
  await subject.vault.write(subject.root, "auth/token/revoke", { token: parent });
  expect((await subject.vault.barrier.list("token/id/")).entries).toHaveLength(before - 1);
  expect((await subject.vault.barrier.list("lease/id/")).entries).toEqual([]);
});
