import { afterEach, beforeEach, expect, test } from "vitest";

import type { JsonObject } from "../backend.js";
import { aLenderState, lenderBackend } from "../testing/lender-backend.js";
import { anUnsealedVault, echoBackend, type TestVault } from "../testing/unsealed-vault.js";

const denied = { code: "PERMISSION_DENIED" };

let subject: TestVault;

beforeEach(async () => {
  const lender = lenderBackend(aLenderState());
  subject = await anUnsealedVault({ backends: { echo: echoBackend }, loginMethods: { lender } });
  await subject.vault.write(subject.root, "sys/auth/desk", { type: "lender" });
  await subject.vault.write(subject.root, "sys/auth/gate", { type: "lender" });
  await subject.vault.write(subject.root, "sys/mounts/e", { type: "echo" });
});
afterEach(async () => {
  await subject[Symbol.asyncDispose]();
});

async function logIn(
  alias: string,
  data: JsonObject = {},
  mount = "desk",
): Promise<{ id: string; token: string }> {
  const auth = (await subject.vault.write("", `auth/${mount}/login`, { alias, ...data }))?.auth;
  return { id: auth?.entity_id ?? "", token: auth?.client_token ?? "" };
}

async function read(path: string): Promise<JsonObject | undefined> {
  return (await subject.vault.read(subject.root, `identity/${path}`))?.data ?? undefined;
}

test("whoever logs in has one entity, the same each time, another by another name or mount", async () => {
  const first = await logIn("ann");
  expect(first.id).toMatch(/^[0-9a-f-]{36}$/);
  expect((await logIn("ann")).id).toBe(first.id);
  expect((await logIn("Ann")).id).not.toBe(first.id);
  expect((await logIn("ann", {}, "gate")).id).not.toBe(first.id);
  expect((await logIn("")).id).toBe("");
  const lookup = await subject.vault.read(first.token, "auth/token/lookup-self");
  expect(lookup?.data).toMatchObject({ entity_id: first.id });
});

test("of 20 first logins at once all get the same entity", async () => {
  const logins = await Promise.all(Array.from({ length: 20 }, () => logIn("ann")));
  expect(new Set(logins.map(({ id }) => id)).size).toBe(1);
  expect((await subject.vault.list(subject.root, "identity/entity/id"))?.data?.["keys"]).toHaveLength(1);
});

test("an entity is read by id and name, with what the mount says of it", async () => {
  const { id } = await logIn("ann", { name: "Ann" });
  const entity = await read(`entity/id/${id}`);
  const mounts = (await subject.vault.read(subject.root, "sys/auth"))?.data ?? {};
  const { accessor } = mounts["desk/"] as { readonly accessor: string };
  expect(entity).toMatchObject({
    id,
    disabled: false,
    metadata: null,
    aliases: [{ name: "ann", mount_accessor: accessor, mount_path: "auth/desk/", metadata: { name: "Ann" } }],
  });
  expect(await read(`entity/name/${String(entity?.["name"])}`)).toEqual(entity);
  await logIn("ann", { name: "Anna" });
  expect(await read(`entity/id/${id}`)).toMatchObject({ aliases: [{ metadata: { name: "Anna" } }] });
  const listed = (await subject.vault.list(subject.root, "identity/entity-alias/id"))?.data ?? {};
  const [alias] = listed["keys"] as readonly string[];
  expect(await read(`entity-alias/id/${alias}`)).toMatchObject({ canonical_id: id, name: "ann" });
  const lookup = async (data: JsonObject): Promise<unknown> =>
    (await subject.vault.write(subject.root, "identity/lookup/entity", data))?.data?.["id"];
  expect(await lookup({ alias_name: "ann", alias_mount_accessor: accessor })).toBe(id);
  expect(await lookup({ alias_id: alias })).toBe(id);
  expect(await lookup({ id })).toBe(id);
  expect(await lookup({ name: "nobody" })).toBeUndefined();
  await expect(lookup({})).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a disabled entity's tokens are refused, new ones as well, until it is enabled", async () => {
  const { id, token } = await logIn("ann");
  await subject.vault.write(subject.root, `identity/entity/id/${id}`, { disabled: true });
  await expect(subject.vault.read(token, "auth/token/lookup-self")).rejects.toMatchObject(denied);
  await expect(logIn("ann")).rejects.toMatchObject(denied);
  await subject.vault.write(subject.root, `identity/entity/id/${id}`, { disabled: false });
  expect(await subject.vault.read(token, "auth/token/lookup-self")).toBeDefined();
});

test("a deleted entity's tokens are refused, and the next login makes another", async () => {
  const { id, token } = await logIn("ann");
  await subject.vault.delete(subject.root, `identity/entity/id/${id}`);
  await expect(subject.vault.read(token, "auth/token/lookup-self")).rejects.toMatchObject(denied);
  expect((await logIn("ann")).id).not.toBe(id);
  expect((await subject.vault.barrier.list("identity/")).entries).toHaveLength(4);
});

test("policies name the entity, its metadata and its aliases", async () => {
  const { vault, root } = subject;
  const policy = `path "e/{{identity.entity.id}}/*" { capabilities = ["read"] }
path "e/{{identity.entity.metadata.team}}" { capabilities = ["read"] }`;
  await vault.write(root, "sys/policies/acl/own", { policy });
  const ann = await logIn("ann", { policy: "own" });
  const bob = await logIn("bob", { policy: "own" });
  expect(await vault.read(ann.token, `e/${ann.id}/x`)).toBeDefined();
  await expect(vault.read(bob.token, `e/${ann.id}/x`)).rejects.toMatchObject(denied);
  await expect(vault.read(ann.token, "e/blue")).rejects.toMatchObject(denied);
  await vault.write(root, `identity/entity/id/${ann.id}`, { metadata: { team: "blue" } });
  expect(await vault.read(ann.token, "e/blue")).toBeDefined();
  await expect(vault.read(bob.token, "e/blue")).rejects.toMatchObject(denied);
});

test("entities are made and renamed, and a name is one entity's", async () => {
  const { vault, root } = subject;
  const made = (await vault.write(root, "identity/entity", { name: "ann", metadata: { team: "a" } }))?.data;
  await vault.write(root, "identity/entity/name/bob", { metadata: { team: "b" } });
  expect(await read("entity/name/ANN")).toMatchObject({ id: made?.["id"], metadata: { team: "a" } });
  await expect(
    vault.write(root, `identity/entity/id/${String(made?.["id"])}`, { name: "Bob" }),
  ).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await vault.write(root, `identity/entity/id/${String(made?.["id"])}`, { name: "carol" });
  expect(await read("entity/name/ann")).toBeUndefined();
  expect((await vault.list(root, "identity/entity/name"))?.data?.["keys"]).toEqual(["bob", "carol"]);
  await vault.delete(root, "identity/entity/name/bob");
  expect(await read("entity/name/bob")).toBeUndefined();
});

test.each([
  { name: "an empty name", data: { name: "" } },
  { name: "a name with a slash", data: { name: "a/b" } },
  { name: "a long name", data: { name: "x".repeat(257) } },
  { name: "huge metadata", data: { metadata: { a: "x".repeat(2000) } } },
  {
    name: "many metadata",
    data: { metadata: Object.fromEntries(Array.from({ length: 65 }, (_, k) => [`${k}`, ""])) },
  },
])("$name is refused", async ({ data }) => {
  await expect(subject.vault.write(subject.root, "identity/entity", data)).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("children belong to the same entity, orphans to none", async () => {
  const policy = `path "auth/token/*" { capabilities = ["update"] }`;
  await subject.vault.write(subject.root, "sys/policies/acl/make", { policy });
  const { id, token } = await logIn("ann", { policy: "make" });
  const child = await subject.vault.write(token, "auth/token/create", {});
  const orphan = await subject.vault.write(token, "auth/token/create-orphan", {});
  expect([child?.auth?.entity_id, orphan?.auth?.entity_id]).toEqual([id, ""]);
});
