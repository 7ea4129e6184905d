import { expect, test } from "vitest";

import type { JsonObject } from "../../vault/backend.js";
import { aLoginVault, type LoginVault } from "../testing/login-vault.js";
import { approleLogin } from "./approle-backend.js";

const INVALID = { code: "INPUT_INVALID", message: "invalid role or secret ID" };

async function anApproleVault(role: JsonObject = {}): Promise<LoginVault> {
  const made = await aLoginVault("approle", (clock) => approleLogin({ clock }));
  await made.ask("update", "role/web", { token_policies: "web", role_id: "web-id", ...role });
  return made;
}

interface Made {
  readonly secret_id: string;
  readonly secret_id_accessor: string;
}

async function aSecretId(vault: LoginVault, data: JsonObject = {}): Promise<Made> {
  return (await vault.ask("update", "role/web/secret-id", data)) as Made;
}

test("a role id and a secret id give a token with the role's policies", async () => {
  await using vault = await anApproleVault({ token_ttl: "10m", token_max_ttl: 1200 });
  const made = await aSecretId(vault, { metadata: `{"team":"a","role_name":"other"}` });
  expect(made).toMatchObject({ secret_id_ttl: 0, secret_id_num_uses: 0 });
  expect(await vault.login({ role_id: "web-id", secret_id: made.secret_id })).toMatchObject({
    policies: ["default", "web"],
    metadata: { team: "a", role_name: "web" },
    lease_duration: 600,
    token_type: "service",
    orphan: true,
  });
});

test("a role is read, changed, listed and deleted with everything that it gave", async () => {
  await using vault = await anApproleVault({ secret_id_num_uses: 5 });
  await vault.ask("update", "role/web", { secret_id_ttl: "1h", secret_id_bound_cidrs: "10.1.2.3/8" });
  expect(await vault.ask("read", "role/web")).toEqual({
    bind_secret_id: true,
    local_secret_ids: false,
    secret_id_bound_cidrs: ["10.0.0.0/8"],
    secret_id_num_uses: 5,
    secret_id_ttl: 3600,
    token_bound_cidrs: [],
    token_explicit_max_ttl: 0,
    token_max_ttl: 0,
    token_no_default_policy: false,
    token_num_uses: 0,
    token_period: 0,
    token_policies: ["web"],
    token_ttl: 0,
    token_type: "default",
  });
  expect(await vault.ask("read", "role/web/role-id")).toEqual({ role_id: "web-id" });
  await vault.ask("update", "role/db", {});
  expect(await vault.ask("list", "role")).toEqual({ keys: ["db", "web"] });
  await aSecretId(vault);
  await vault.ask("delete", "role/web");
  expect(await vault.ask("read", "role/web")).toBeUndefined();
  expect(await vault.ask("list", "role")).toEqual({ keys: ["db"] });
  const { entries } = await vault.storage.list("barrier/logical/");
  const left = entries.filter(({ key }) => /\/(secret|accessor|deleted)\//.test(key));
  expect(left).toEqual([]);
  await vault.ask("update", "role/web", { role_id: "web-id" });
});

test("a role id names one role, and moves when it is changed", async () => {
  await using vault = await anApproleVault();
  await expect(vault.ask("update", "role/db", { role_id: "web-id" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  const { secret_id } = await aSecretId(vault);
  await vault.ask("update", "role/web/role-id", { role_id: "new" });
  await expect(vault.login({ role_id: "web-id", secret_id })).rejects.toMatchObject(INVALID);
  await vault.login({ role_id: "new", secret_id });
  await vault.ask("update", "role/db", { role_id: "web-id" });
  await expect(vault.login({ role_id: "web-id", secret_id })).rejects.toMatchObject(INVALID);
});

test.each([
  { name: "an unknown role id", data: { role_id: "nobody", secret_id: "x" } },
  { name: "an unknown secret id", data: { role_id: "web-id", secret_id: "x" } },
  { name: "a secret id that is not text", data: { role_id: "web-id", secret_id: {} }, other: true },
  { name: "no role id", data: { secret_id: "x" }, other: true },
  { name: "no secret id", data: { role_id: "web-id" }, other: true },
])("$name does not log in", async ({ data, other }) => {
  await using vault = await anApproleVault();
  const refused = other === true ? { code: "INPUT_INVALID" } : INVALID;
  await expect(vault.login(data)).rejects.toMatchObject(refused);
});

test("a secret id with one use lets one of fifty in", async () => {
  await using vault = await anApproleVault({ secret_id_num_uses: 1 });
  const { secret_id, secret_id_accessor } = await aSecretId(vault);
  const logins = Array.from({ length: 50 }, () => vault.login({ role_id: "web-id", secret_id }));
  const results = await Promise.allSettled(logins);
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  const reasons = results.flatMap((result) => (result.status === "rejected" ? [result.reason as Error] : []));
  expect(new Set(reasons.map(({ message }) => message))).toEqual(new Set([INVALID.message]));
  await expect(
    vault.ask("update", "role/web/secret-id-accessor/lookup", { secret_id_accessor }),
  ).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("uses are counted, also when many use it at the same time", async () => {
  await using vault = await anApproleVault({ secret_id_num_uses: 20 });
  const { secret_id } = await aSecretId(vault);
  const logins = Array.from({ length: 30 }, () => vault.login({ role_id: "web-id", secret_id }));
  const results = await Promise.allSettled(logins);
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(20);
});

test("a secret id ends with its time", async () => {
  await using vault = await anApproleVault({ secret_id_ttl: "1m" });
  const { secret_id } = await aSecretId(vault);
  vault.advanceSeconds(59);
  await vault.login({ role_id: "web-id", secret_id });
  vault.advanceSeconds(1);
  await expect(vault.login({ role_id: "web-id", secret_id })).rejects.toMatchObject(INVALID);
  expect(await vault.ask("update", "role/web/secret-id/lookup", { secret_id })).toBeUndefined();
  expect(await vault.ask("list", "role/web/secret-id")).toMatchObject({ keys: [expect.any(String)] });
  await vault.ask("update", "tidy/secret-id");
  expect(await vault.ask("list", "role/web/secret-id")).toBeUndefined();
});

test("a login from elsewhere is refused and costs no use", async () => {
  await using vault = await anApproleVault({ secret_id_num_uses: 1, secret_id_bound_cidrs: "10.0.0.0/8" });
  const { secret_id } = await aSecretId(vault, { cidr_list: ["10.1.0.0/16"] });
  const from = (remoteAddress?: string): Promise<unknown> =>
    vault.login({ role_id: "web-id", secret_id }, remoteAddress === undefined ? {} : { remoteAddress });
  await expect(from("192.0.2.1")).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await expect(from("10.2.0.1")).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await expect(from()).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await from("::ffff:10.1.0.1");
});

test("a token is bound to the networks of the secret id", async () => {
  await using vault = await anApproleVault({ token_bound_cidrs: "10.0.0.0/8", secret_id_num_uses: 1 });
  const { secret_id } = await aSecretId(vault, { token_bound_cidrs: "10.1.0.0/16" });
  const login = { role_id: "web-id", secret_id };
  await expect(vault.login(login, { remoteAddress: "10.2.0.1" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  const { client_token: token } = await vault.login(login, { remoteAddress: "10.1.0.1" });
  const look = (remoteAddress: string): Promise<unknown> =>
    vault.vault.handle({
      operation: "read",
      path: "auth/token/lookup-self",
      clientToken: token,
      connection: { remoteAddress },
    });
  await look("10.1.9.9");
  await expect(look("10.2.0.1")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
});

test("a role without secret ids needs networks", async () => {
  await using vault = await anApproleVault();
  await expect(vault.ask("update", "role/open", { bind_secret_id: false })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  const open = { bind_secret_id: false, secret_id_bound_cidrs: "10.0.0.0/8", role_id: "open" };
  await vault.ask("update", "role/open", open);
  await vault.login({ role_id: "open" }, { remoteAddress: "10.0.0.1" });
  await expect(vault.login({ role_id: "open" }, { remoteAddress: "11.0.0.1" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  await expect(vault.ask("update", "role/open/secret-id")).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test.each([
  { name: "more uses", data: { num_uses: 3 } },
  { name: "any number of uses", data: { num_uses: 0 } },
  { name: "a longer time", data: { ttl: "2h" } },
  { name: "for ever", data: { ttl: 0 } },
  { name: "a wider network", data: { cidr_list: "10.0.0.0/7" } },
  { name: "another network", data: { token_bound_cidrs: "192.0.2.0/24" } },
  { name: "metadata that is a list", data: { metadata: "[1]" } },
  { name: "metadata that is no JSON", data: { metadata: "{" } },
  { name: "too much metadata", data: { metadata: { a: "x".repeat(20_000) } } },
])("a secret id with $name than the role allows is refused", async ({ data }) => {
  await using vault = await anApproleVault({
    secret_id_num_uses: 2,
    secret_id_ttl: "1h",
    secret_id_bound_cidrs: "10.0.0.0/8",
    token_bound_cidrs: "10.0.0.0/8",
  });
  await expect(aSecretId(vault, data)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await aSecretId(vault, { num_uses: 1, ttl: 60, cidr_list: "10.0.0.0/9", metadata: "" });
});

test("secret ids are looked up and destroyed by themselves and by accessor", async () => {
  await using vault = await anApproleVault();
  const custom = { secret_id: "chosen", metadata: { a: "b" }, num_uses: 3 };
  const { secret_id_accessor } = (await vault.ask("update", "role/web/custom-secret-id", custom)) as Made;
  await expect(vault.ask("update", "role/web/custom-secret-id", custom)).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  const known = {
    cidr_list: [],
    creation_time: "2027-01-15T08:00:00.000Z",
    expiration_time: "0001-01-01T00:00:00Z",
    last_updated_time: "2027-01-15T08:00:00.000Z",
    metadata: { a: "b" },
    secret_id_accessor,
    secret_id_num_uses: 3,
    secret_id_ttl: 0,
    token_bound_cidrs: [],
  };
  expect(await vault.ask("update", "role/web/secret-id/lookup", { secret_id: "chosen" })).toEqual(known);
  expect(await vault.ask("update", "role/web/secret-id-accessor/lookup", { secret_id_accessor })).toEqual(
    known,
  );
  expect(await vault.ask("list", "role/web/secret-id")).toEqual({ keys: [secret_id_accessor] });
  await vault.ask("update", "role/web/secret-id-accessor/destroy", { secret_id_accessor });
  expect(await vault.ask("list", "role/web/secret-id")).toBeUndefined();
  const second = await aSecretId(vault);
  await vault.ask("delete", "role/web/secret-id/destroy", { secret_id: second.secret_id });
  await expect(vault.login({ role_id: "web-id", secret_id: second.secret_id })).rejects.toMatchObject(
    INVALID,
  );
});

test("secret ids and role ids are no keys of the store and stand in no value but the role's", async () => {
  await using vault = await anApproleVault();
  const { secret_id } = await aSecretId(vault);
  const { entries } = await vault.storage.list("barrier/logical/");
  expect(entries.filter(({ key }) => key.includes(secret_id) || key.includes("web-id"))).toEqual([]);
  const { entries: open } = await vault.vault.barrier.list("logical/");
  const holders = open.filter(({ value }) => Buffer.from(value).includes(secret_id));
  expect(holders).toEqual([]);
});

test("a token is renewed as long as its role is there", async () => {
  await using vault = await anApproleVault({ token_ttl: 600 });
  const { secret_id } = await aSecretId(vault);
  const { client_token: token } = await vault.login({ role_id: "web-id", secret_id });
  await vault.vault.write(token, "auth/token/renew-self", {});
  await vault.ask("delete", "role/web");
  await vault.ask("update", "role/web", { role_id: "web-id" });
  await expect(vault.vault.write(token, "auth/token/renew-self", {})).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
});

test("what has no effect is said, and a role name with a slash or odd signs is none", async () => {
  await using vault = await anApproleVault();
  const answer = await vault.vault.write(vault.root, "auth/approle/role/x", { local_secret_ids: true });
  expect(answer?.warnings).toEqual([expect.stringContaining("local_secret_ids")]);
  await expect(vault.ask("update", "role/a b", {})).rejects.toMatchObject({ code: "INPUT_INVALID" });
});
