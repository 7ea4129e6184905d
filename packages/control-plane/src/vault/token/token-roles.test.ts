import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";

import type { JsonObject } from "../backend.js";
import { anUnsealedVault, type TestVault } from "../testing/unsealed-vault.js";
import type { VaultAuth } from "../request.js";
import { matchesGlob } from "./token-policies.js";

const denied = { code: "PERMISSION_DENIED" };
const invalid = { code: "INPUT_INVALID" };

async function role({ vault, root }: TestVault, data: JsonObject): Promise<void> {
  await vault.write(root, "auth/token/roles/r", data);
}

async function create(
  { vault, root }: TestVault,
  data: JsonObject = {},
  token = root.reveal(),
): Promise<VaultAuth> {
  const auth = (await vault.write(token, "auth/token/create/r", data))?.auth;
  if (auth === null || auth === undefined) throw new TypeError("no token was made");
  return auth;
}

/** A token that may make tokens through the role, without sudo. */
async function maker(subject: TestVault): Promise<string> {
  const policy = `path "auth/token/create/r" { capabilities = ["update"] }`;
  await subject.vault.write(subject.root, "sys/policies/acl/make", { policy });
  return subject.tokenWith({ policies: ["make"] });
}

test("a role is written, read, changed in part, listed and deleted", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  await role(subject, { allowed_policies: "Web,db", token_period: "1h" });
  await role(subject, { orphan: "true" });
  expect((await vault.read(root, "auth/token/roles/r"))?.data).toEqual({
    name: "r",
    allowed_policies: ["db", "web"],
    allowed_policies_glob: [],
    disallowed_policies: [],
    disallowed_policies_glob: [],
    allowed_entity_aliases: [],
    orphan: true,
    renewable: true,
    path_suffix: "",
    period: 3600,
    token_period: 3600,
    explicit_max_ttl: 0,
    token_explicit_max_ttl: 0,
    token_bound_cidrs: [],
    token_no_default_policy: false,
    token_num_uses: 0,
    token_type: "default-service",
  });
  expect((await vault.list(root, "auth/token/roles"))?.data).toEqual({ keys: ["r"] });
  await vault.delete(root, "auth/token/roles/r");
  expect(await vault.read(root, "auth/token/roles/r")).toBeUndefined();
  expect(await vault.list(root, "auth/token/roles")).toBeUndefined();
  await expect(create(subject)).rejects.toMatchObject(invalid);
});

test("what a role says goes into its tokens", async () => {
  await using subject = await anUnsealedVault();
  await role(subject, {
    allowed_policies: ["web"],
    orphan: true,
    renewable: false,
    token_explicit_max_ttl: "2h",
    path_suffix: "ci",
    token_num_uses: 5,
    token_no_default_policy: true,
  });
  const auth = await create(subject, { num_uses: 9, explicit_max_ttl: "3h" });
  expect(auth).toMatchObject({
    policies: ["web"],
    orphan: true,
    renewable: false,
    lease_duration: 7200,
    num_uses: 5,
  });
  expect(
    (await subject.vault.read(auth.client_token, "auth/token/lookup-self").catch(() => undefined))?.data,
  ).toBeUndefined();
  const described = await subject.vault.write(subject.root, "auth/token/lookup", {
    token: auth.client_token,
  });
  expect(described?.data).toMatchObject({ role: "r", path: "auth/token/create/r/ci" });
  expect((await create(subject, { num_uses: 2 })).num_uses).toBe(2);
});

test.each([
  { name: "those allowed", role: { allowed_policies: "a,b" }, wish: undefined, given: ["a", "b", "default"] },
  { name: "one of those allowed", role: { allowed_policies: "a,b" }, wish: "a", given: ["a", "default"] },
  { name: "one not allowed", role: { allowed_policies: "a,b" }, wish: "c", given: "INPUT_INVALID" },
  {
    name: "one that fits a glob",
    role: { allowed_policies_glob: "a*" },
    wish: "abc",
    given: ["abc", "default"],
  },
  { name: "one that does not", role: { allowed_policies_glob: "a*" }, wish: "b", given: "INPUT_INVALID" },
  { name: "a disallowed one", role: { disallowed_policies: "c" }, wish: "c", given: "INPUT_INVALID" },
  {
    name: "one disallowed by a glob",
    role: { allowed_policies: "cd", disallowed_policies_glob: "c*" },
    wish: "cd",
    given: "INPUT_INVALID",
  },
  { name: "one not disallowed", role: { disallowed_policies: "c" }, wish: "d", given: ["d", "default"] },
  {
    name: "some, with default disallowed",
    role: { allowed_policies: "a", disallowed_policies: "default" },
    wish: "a",
    given: ["a"],
  },
  {
    name: "root, allowed or not",
    role: { allowed_policies: "root" },
    wish: "root",
    given: "PERMISSION_DENIED",
  },
  {
    name: "root through a glob",
    role: { allowed_policies_glob: "*" },
    wish: "root",
    given: "PERMISSION_DENIED",
  },
  {
    name: "response-wrapping",
    role: { allowed_policies_glob: "*" },
    wish: "response-wrapping",
    given: "INPUT_INVALID",
  },
  { name: "a foreign one, of a role that says nothing", role: {}, wish: "a", given: "PERMISSION_DENIED" },
])("a caller without sudo who asks for $name", async ({ role: fields, wish, given }) => {
  await using subject = await anUnsealedVault();
  await role(subject, fields);
  const asked = create(subject, wish === undefined ? {} : { policies: wish }, await maker(subject));
  const outcome = await asked.then(
    ({ policies }) => policies,
    (reason: unknown) => RksError.from(reason).code,
  );
  expect(outcome).toEqual(given);
});

test.each([
  { role: "service", wish: "batch", type: "service" },
  { role: "batch", wish: "service", type: "batch" },
  { role: "default-service", wish: "", type: "service" },
  { role: "default-service", wish: "batch", type: "batch" },
  { role: "default-batch", wish: "", type: "batch" },
  { role: "default-batch", wish: "service", type: "service" },
])("of type $role, asked for $wish, comes $type", async ({ role: token_type, wish, type }) => {
  await using subject = await anUnsealedVault();
  await role(subject, { token_type, allowed_policies: "web" });
  expect((await create(subject, { type: wish })).token_type).toBe(type);
});

test.each([
  { name: "a name with a slash's spelling", path: "a b", data: {} },
  { name: "a suffix with a slash", path: "r", data: { path_suffix: "a/b" } },
  { name: "an unknown type", path: "r", data: { token_type: "magic" } },
  { name: "a batch role with uses", path: "r", data: { token_type: "batch", token_num_uses: 1 } },
  { name: "a batch role with a period", path: "r", data: { token_type: "batch", token_period: 1 } },
  { name: "a network that is none", path: "r", data: { token_bound_cidrs: "x" } },
])("$name is refused", async ({ path, data }) => {
  await using subject = await anUnsealedVault();
  await expect(subject.vault.write(subject.root, `auth/token/roles/${path}`, data)).rejects.toMatchObject(
    invalid,
  );
});

test("an entity alias needs a role that has it, and ties tokens to one entity", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  await role(subject, { allowed_entity_aliases: ["ci-*"], allowed_policies: "web" });
  const one = await create(subject, { entity_alias: "CI-1" });
  expect(one.entity_id).not.toBe("");
  expect((await create(subject, { entity_alias: "ci-1" })).entity_id).toBe(one.entity_id);
  expect((await create(subject, { entity_alias: "ci-2" })).entity_id).not.toBe(one.entity_id);
  await expect(create(subject, { entity_alias: "other" })).rejects.toMatchObject(invalid);
  await expect(vault.write(root, "auth/token/create", { entity_alias: "ci-1" })).rejects.toMatchObject(
    invalid,
  );
});

test("a role gives no periodic token to whoever may not use it", async () => {
  await using subject = await anUnsealedVault();
  await role(subject, { token_period: "1h", allowed_policies: "web" });
  expect((await create(subject, {}, await maker(subject))).lease_duration).toBe(3600);
  await expect(create(subject, {}, await subject.tokenWith({ policies: ["web"] }))).rejects.toMatchObject(
    denied,
  );
});

test.each([
  { pattern: "a*", value: "abc", matches: true },
  { pattern: "*c", value: "abc", matches: true },
  { pattern: "a*c", value: "abc", matches: true },
  { pattern: "a*b*c", value: "a-b-c", matches: true },
  { pattern: "a*b*b", value: "ab", matches: false },
  { pattern: "ab*ba", value: "aba", matches: false },
  { pattern: "*", value: "", matches: true },
  { pattern: "a", value: "ab", matches: false },
  { pattern: "a.c", value: "abc", matches: false },
])("$pattern for $value: $matches", ({ pattern, value, matches }) => {
  expect(matchesGlob([pattern], value)).toBe(matches);
});
