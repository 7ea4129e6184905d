import { expect, test } from "vitest";

import type { JsonObject } from "../backend.js";
import { anUnsealedVault, echoBackend } from "../testing/unsealed-vault.js";
import type { TestVault } from "../testing/unsealed-vault.js";

async function lookupSelf({ vault }: TestVault, token: string): Promise<JsonObject> {
  return (await vault.read(token, "auth/token/lookup-self"))?.data ?? {};
}

async function isAlive({ vault, root }: TestVault, token: string): Promise<boolean> {
  return vault.write(root, "auth/token/lookup", { token }).then(
    () => true,
    () => false,
  );
}

async function allow(subject: TestVault, name: string, policy: string): Promise<void> {
  await subject.vault.write(subject.root, `sys/policies/acl/${name}`, { policy });
}

const denied = { code: "PERMISSION_DENIED" };

test("a new token has what was asked for, and default", async () => {
  await using subject = await anUnsealedVault();
  const made = await subject.vault.write(subject.root, "auth/token/create", {
    policies: ["Web", "db"],
    ttl: "1h30m",
    explicit_max_ttl: "24h",
    num_uses: "3",
    display_name: "ci runner",
    meta: { team: "a" },
  });
  expect(made?.auth).toMatchObject({
    policies: ["db", "default", "web"],
    lease_duration: 5400,
    renewable: true,
    num_uses: 3,
    orphan: false,
    token_type: "service",
    metadata: { team: "a" },
  });
  const token = made?.auth?.client_token ?? "";
  expect(token).toMatch(/^hvs\.[\w-]{43}$/);
  expect(await lookupSelf(subject, token)).toMatchObject({
    id: token,
    display_name: "token-ci-runner",
    num_uses: 2,
    ttl: 5400,
    creation_ttl: 5400,
    explicit_max_ttl: 86_400,
    expire_time: "2027-01-15T09:30:00.000Z",
  });
});

test("a token expires by the clock, and its accessor with it", async () => {
  await using subject = await anUnsealedVault();
  const token = await subject.tokenWith({ ttl: "60s" });
  const { accessor } = await lookupSelf(subject, token);
  subject.advanceSeconds(59);
  expect(await lookupSelf(subject, token)).toMatchObject({ ttl: 1 });
  subject.advanceSeconds(1);
  await expect(lookupSelf(subject, token)).rejects.toMatchObject(denied);
  await expect(
    subject.vault.write(subject.root, "auth/token/lookup-accessor", { accessor }),
  ).rejects.toMatchObject(denied);
});

test("expired tokens are removed in the background", async () => {
  await using subject = await anUnsealedVault();
  await subject.clock.nextSleep();
  const count = async (): Promise<number> => (await subject.vault.barrier.list("token/")).entries.length;
  const before = await count();
  for (let index = 0; index < 5; index += 1) await subject.tokenWith({ ttl: "60s" });
  // Entry, accessor, child of root, expiry of each.
  expect(await count()).toBe(before + 20);
  subject.advanceSeconds(61);
  await subject.clock.nextSleep();
  expect(await count()).toBe(before);
});

test("renewing starts the lifetime anew, up to the explicit maximum", async () => {
  await using subject = await anUnsealedVault();
  const token = await subject.tokenWith({ ttl: "60s", explicit_max_ttl: "100s" });
  subject.advanceSeconds(50);
  expect((await subject.vault.write(token, "auth/token/renew-self", {}))?.auth?.lease_duration).toBe(50);
  subject.advanceSeconds(20);
  const renewed = await subject.vault.write(subject.root, "auth/token/renew", { token, increment: "10s" });
  expect(renewed?.auth?.lease_duration).toBe(10);
  subject.advanceSeconds(10);
  await expect(lookupSelf(subject, token)).rejects.toMatchObject(denied);
});

test("a token that is not renewable and the root token cannot be renewed", async () => {
  await using subject = await anUnsealedVault();
  const token = await subject.tokenWith({ ttl: "60s", renewable: false });
  await expect(subject.vault.write(token, "auth/token/renew-self", {})).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  await expect(subject.vault.write(subject.root, "auth/token/renew-self", {})).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("a lifetime longer than the system's is cut with a warning", async () => {
  await using subject = await anUnsealedVault();
  const made = await subject.vault.write(subject.root, "auth/token/create", { ttl: "800h" });
  expect(made?.auth?.lease_duration).toBe(768 * 3600);
  expect(made?.warnings).toHaveLength(1);
});

test.each([1, 3])("of 20 uses at once of a token with %i uses exactly that many succeed", async (uses) => {
  await using subject = await anUnsealedVault({ backends: { echo: echoBackend } });
  await subject.vault.write(subject.root, "sys/mounts/e", { type: "echo" });
  await allow(subject, "e", `path "e/*" { capabilities = ["read"] }`);
  const token = await subject.tokenWith({ policies: ["e"], num_uses: uses });
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, () => subject.vault.read(token, "e/x")),
  );
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(uses);
  const refusals = results.flatMap((result) =>
    result.status === "rejected" ? [result.reason as unknown] : [],
  );
  expect(refusals).toEqual(refusals.map(() => expect.objectContaining(denied) as unknown));
  expect(await isAlive(subject, token)).toBe(false);
});

test("a use is taken by a request that the policies refuse, too", async () => {
  await using subject = await anUnsealedVault();
  const token = await subject.tokenWith({ policies: ["none"], num_uses: 1 });
  await expect(subject.vault.read(token, "sys/mounts")).rejects.toMatchObject(denied);
  await expect(lookupSelf(subject, token)).rejects.toMatchObject(denied);
});

test("looking a token up as an operator takes no use of it", async () => {
  await using subject = await anUnsealedVault();
  const token = await subject.tokenWith({ num_uses: 1 });
  await subject.vault.write(subject.root, "auth/token/lookup", { token });
  expect(await lookupSelf(subject, token)).toMatchObject({ num_uses: 0 });
});

test("a token with limited uses makes no tokens", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `path "auth/token/create" { capabilities = ["update"] }`);
  const token = await subject.tokenWith({ policies: ["make"], num_uses: 5 });
  await expect(subject.vault.write(token, "auth/token/create", {})).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("revoking a token ends its children and theirs, and not its siblings or orphans", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `path "auth/token/create" { capabilities = ["update", "sudo"] }`);
  const child = async (parent: string, data: JsonObject = {}): Promise<string> =>
    (await subject.vault.write(parent, "auth/token/create", { policies: ["make"], ...data }))?.auth
      ?.client_token ?? "";
  const parent = await subject.tokenWith({ policies: ["make"] });
  const sibling = await subject.tokenWith({ policies: ["make"] });
  const below = await child(parent);
  const deeper = await child(below);
  const orphan = await child(parent, { no_parent: true });
  await subject.vault.write(subject.root, "auth/token/revoke", { token: parent });
  const alive = await Promise.all(
    [parent, below, deeper, orphan, sibling].map((token) => isAlive(subject, token)),
  );
  expect(alive).toEqual([false, false, false, true, true]);
});

test("when a parent expires its children are dead, though their own time is not up", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `path "auth/token/create" { capabilities = ["update"] }`);
  const parent = await subject.tokenWith({ policies: ["make"], ttl: "10s" });
  const child = await subject.vault.write(parent, "auth/token/create", { ttl: "1h" });
  subject.advanceSeconds(11);
  await expect(lookupSelf(subject, child?.auth?.client_token ?? "")).rejects.toMatchObject(denied);
});

test("a token revokes itself, by its accessor, or by its name", async () => {
  await using subject = await anUnsealedVault();
  const [self, byAccessor] = [await subject.tokenWith({}), await subject.tokenWith({})];
  await subject.vault.write(self, "auth/token/revoke-self", {});
  await expect(lookupSelf(subject, self)).rejects.toMatchObject(denied);
  const { accessor } = await lookupSelf(subject, byAccessor);
  const found = await subject.vault.write(subject.root, "auth/token/lookup-accessor", { accessor });
  expect(found?.data).toMatchObject({ id: "", accessor });
  await subject.vault.write(subject.root, "auth/token/revoke-accessor", { accessor });
  expect(await isAlive(subject, byAccessor)).toBe(false);
  await expect(subject.vault.write(subject.root, "auth/token/revoke", { token: self })).rejects.toMatchObject(
    { code: "INPUT_INVALID", message: "token not found" },
  );
});

test("without sudo a token hands on only its own policies, with sudo others, root never", async () => {
  await using subject = await anUnsealedVault();
  await allow(subject, "make", `path "auth/token/create" { capabilities = ["update"] }`);
  await allow(subject, "admin", `path "auth/token/create" { capabilities = ["update", "sudo"] }`);
  const create = async (token: string, data: JsonObject): Promise<readonly string[]> =>
    (await subject.vault.write(token, "auth/token/create", data))?.auth?.policies ?? [];
  const plain = await subject.tokenWith({ policies: ["make", "web"] });
  expect(await create(plain, {})).toEqual(["default", "make", "web"]);
  expect(await create(plain, { policies: "web", no_default_policy: true })).toEqual(["web"]);
  await expect(create(plain, { policies: ["db"] })).rejects.toMatchObject(denied);
  await expect(create(plain, { no_parent: true })).rejects.toMatchObject(denied);
  const admin = await subject.tokenWith({ policies: ["admin"] });
  expect(await create(admin, { policies: ["db"] })).toEqual(["db", "default"]);
  await expect(create(admin, { policies: ["root"] })).rejects.toMatchObject(denied);
  expect(await create(subject.root.reveal(), {})).toEqual(["root"]);
});

test("a root token that expires makes none that does not", async () => {
  await using subject = await anUnsealedVault();
  const short = await subject.tokenWith({ policies: ["root"], ttl: "1h" });
  await expect(subject.vault.write(short, "auth/token/create", {})).rejects.toMatchObject(denied);
});

test.each([
  { name: "an id with a dot", data: { id: "hvs.mine" } },
  { name: "an unknown type", data: { type: "magic" } },
  { name: "a negative number of uses", data: { num_uses: -1 } },
  { name: "a ttl that is no duration", data: { ttl: "soon" } },
  { name: "a policy name with a slash", data: { policies: ["a/b"] } },
  { name: "policies that are numbers", data: { policies: [1] } },
  { name: "meta that is text", data: { meta: "x" } },
])("$name is refused", async ({ data }) => {
  await using subject = await anUnsealedVault();
  await expect(subject.vault.write(subject.root, "auth/token/create", data)).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("null stands for not given", async () => {
  await using subject = await anUnsealedVault();
  const made = await subject.vault.write(subject.root, "auth/token/create", {
    policies: null,
    ttl: null,
    num_uses: null,
    meta: null,
  });
  expect(made?.auth).toMatchObject({ policies: ["root"], num_uses: 0, lease_duration: 0 });
});

test("tokens descend only so deep", async () => {
  await using subject = await anUnsealedVault();
  let token = subject.root.reveal();
  for (let depth = 0; depth < 16; depth += 1) {
    token = (await subject.vault.write(token, "auth/token/create", {}))?.auth?.client_token ?? "";
  }
  await expect(subject.vault.write(token, "auth/token/create", {})).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test.each(["", "x", "hvs.", "x".repeat(10_000)])("%j is not a token", async (token) => {
  await using subject = await anUnsealedVault();
  await expect(subject.vault.read(token, "sys/mounts")).rejects.toMatchObject(denied);
});

test("the root token can be revoked, and then nothing works any more", async () => {
  await using subject = await anUnsealedVault();
  const child = await subject.tokenWith({});
  await subject.vault.write(subject.root, "auth/token/revoke-self", {});
  await expect(subject.vault.read(subject.root, "sys/mounts")).rejects.toMatchObject(denied);
  await expect(lookupSelf(subject, child)).rejects.toMatchObject(denied);
});
