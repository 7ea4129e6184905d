import { memoryStorage, type Storage } from "@rk8s/storage";
import { expect, test } from "vitest";

import { isAssignable } from "./builtin-policies.js";
import { parsePolicy } from "./policy-parser.js";
import { PolicyStore } from "./policy-store.js";
import type { PolicyIdentity } from "./policy.js";

const anIdentity = (init: Partial<PolicyIdentity> = {}): PolicyIdentity => ({
  id: "e-1",
  name: "anna",
  metadata: {},
  aliases: [],
  ...init,
});

const READ_A = `path "a" { capabilities = ["read"] }`;
const HOME = `path "home/{{identity.entity.name}}" { capabilities = ["read"] }\npath "all" { capabilities = ["read"] }`;

/** Which of the paths can be read. */
async function readable(
  store: PolicyStore,
  names: readonly string[],
  identity: PolicyIdentity | undefined,
  paths: readonly string[],
): Promise<readonly string[]> {
  const acl = await store.acl(names, identity);
  return paths.filter((path) => acl.decide({ operation: "read", path }).allowed);
}

test("names are listed in order with root at the end, response-wrapping is not", async () => {
  const store = new PolicyStore(memoryStorage());
  expect(await store.list()).toEqual(["default", "root"]);
  for (const name of ["web", "Zoo", "a.b", "s-1"]) await store.write(name, READ_A);
  expect(await store.list()).toEqual(["a.b", "default", "s-1", "web", "zoo", "root"]);
  await store.delete("WEB");
  await store.delete("never-there");
  expect(await store.list()).toEqual(["a.b", "default", "s-1", "zoo", "root"]);
});

test("thousands of names are listed, each once", async () => {
  const storage = memoryStorage();
  const store = new PolicyStore(storage);
  const names = Array.from({ length: 2500 }, (_, i) => `p-${String(i).padStart(4, "0")}`);
  for (const name of names) await store.write(name, READ_A);
  expect(await store.list()).toEqual(["default", ...names, "root"]);
});

test.each(["root", "ROOT", "response-wrapping", "Response-Wrapping"])(
  "%s cannot be written",
  async (name) => {
    const store = new PolicyStore(memoryStorage());
    await expect(store.write(name, READ_A)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  },
);

test.each(["root", "response-wrapping", "default", "Default"])("%s cannot be deleted", async (name) => {
  const store = new PolicyStore(memoryStorage());
  await expect(store.delete(name)).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test.each(["", " ", "-a", ".a", "a/b", "a b", "ä", "a\n", "a*", "x".repeat(129), "__proto__"])(
  "%j is no name of a policy",
  async (name) => {
    const store = new PolicyStore(memoryStorage());
    for (const attempt of [store.write(name, READ_A), store.read(name), store.delete(name)]) {
      await expect(attempt).rejects.toMatchObject({ code: "INPUT_INVALID" });
    }
  },
);

test("what is always there can be read, and parsed", async () => {
  const store = new PolicyStore(memoryStorage());
  expect(await store.read("root")).toBe("");
  for (const name of ["default", "response-wrapping"]) {
    expect(parsePolicy((await store.read(name)) ?? "").rules).not.toHaveLength(0);
  }
  expect(await store.read("other")).toBeUndefined();
});

test("response-wrapping allows to make and take the wrapped answer and is for no other token", async () => {
  const acl = await new PolicyStore(memoryStorage()).acl(["response-wrapping"]);
  expect(acl.capabilities("cubbyhole/response")).toEqual(["create", "read"]);
  expect(acl.capabilities("sys/wrapping/unwrap")).toEqual(["update"]);
  expect(acl.capabilities("cubbyhole/other")).toEqual(["deny"]);
  expect(["default", "web", "root", "response-wrapping"].map(isAssignable)).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

test("root allows everything whatever else a token has", async () => {
  const store = new PolicyStore(memoryStorage());
  await store.write("none", `path "*" { capabilities = ["deny"] }`);
  expect((await store.acl(["none", "root"])).capabilities("any")).toEqual(["root"]);
});

test("names that are no policies allow nothing and spoil nothing", async () => {
  const store = new PolicyStore(memoryStorage());
  await store.write("p", READ_A);
  expect(await readable(store, ["gone", "p", "No Name", "p"], undefined, ["a", "b"])).toEqual(["a"]);
});

test("names with commas and quotes are not taken for other sets of names", async () => {
  const store = new PolicyStore(memoryStorage());
  await store.write("a", READ_A);
  expect(await readable(store, ["a", "b"], undefined, ["a"])).toEqual(["a"]);
  expect(await readable(store, ["a,b"], undefined, ["a"])).toEqual([]);
  expect(await readable(store, [`a","b`], undefined, ["a"])).toEqual([]);
});

test("each identity has its own paths and never another's", async () => {
  const store = new PolicyStore(memoryStorage());
  await store.write("home", HOME);
  const paths = ["all", "home/anna", "home/bert", "home/carl"];
  const anna = anIdentity();
  const bert = anIdentity({ id: "e-2", name: "bert" });
  for (let round = 0; round < 3; round++) {
    expect(await readable(store, ["home"], anna, paths)).toEqual(["all", "home/anna"]);
    expect(await readable(store, ["home"], bert, paths)).toEqual(["all", "home/bert"]);
    expect(await readable(store, ["home"], undefined, paths)).toEqual(["all"]);
  }
  // Renamed: the same id is not enough to get what was made for the old name.
  expect(await readable(store, ["home"], { ...anna, name: "carl" }, paths)).toEqual(["all", "home/carl"]);
});

test("an identity is not told apart by what no policy of the token asks for", async () => {
  const store = new PolicyStore(memoryStorage());
  await store.write("home", HOME);
  await store.write("plain", READ_A);
  const [one, other] = [anIdentity({ metadata: { x: "1" } }), anIdentity({ metadata: { x: "2" } })];
  expect(await store.acl(["home"], one)).toBe(await store.acl(["home"], other));
  expect(await store.acl(["plain"], one)).toBe(await store.acl(["plain"]));
  expect(await store.acl(["home"], one)).not.toBe(await store.acl(["home"], anIdentity({ id: "e-2" })));
});

test("more identities than are kept ready all get their own", async () => {
  const store = new PolicyStore(memoryStorage());
  await store.write("home", HOME);
  for (let i = 0; i < 5000; i++) {
    const identity = anIdentity({ id: `e-${i}`, name: `n${i}` });
    const acl = await store.acl(["home"], identity);
    expect(acl.decide({ operation: "read", path: `home/n${i}` }).allowed).toBe(true);
    expect(acl.decide({ operation: "read", path: "home/n0" }).allowed).toBe(i === 0);
  }
});

test("a change counts at once, for templated policies as well", async () => {
  const store = new PolicyStore(memoryStorage());
  const read = (): Promise<readonly string[]> =>
    readable(store, ["default", "p"], anIdentity(), ["a", "home/anna"]);
  expect(await read()).toEqual([]);
  await store.write("p", HOME);
  expect(await read()).toEqual(["home/anna"]);
  await store.write("p", READ_A);
  expect(await read()).toEqual(["a"]);
  await store.delete("p");
  expect(await read()).toEqual([]);
});

test("what is read while a policy is replaced is not remembered", async () => {
  const storage = memoryStorage();
  await new PolicyStore(storage).write("p", READ_A);
  let release: (() => void) | undefined;
  const isHeld = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow: Storage = Object.create(storage, {
    get: {
      value: async (key: string) => {
        const entry = await storage.get(key);
        await isHeld;
        return entry;
      },
    },
    transaction: { value: storage.transaction.bind(storage) },
  }) as Storage;
  const store = new PolicyStore(slow);
  const before = store.acl(["p"]);
  await store.write("p", `path "a" { capabilities = ["deny"] }`);
  release?.();
  await before;
  expect(await readable(store, ["p"], undefined, ["a"])).toEqual([]);
});

test("a write that fails changes nothing", async () => {
  const storage = memoryStorage();
  await new PolicyStore(storage).write("p", READ_A);
  const broken: Storage = Object.create(storage, {
    get: { value: storage.get.bind(storage) },
    transaction: { value: () => Promise.reject(new Error("disk full")) },
  }) as Storage;
  const store = new PolicyStore(broken);
  expect(await readable(store, ["p"], undefined, ["a"])).toEqual(["a"]);
  await expect(store.write("p", "")).rejects.toThrow("disk full");
  await expect(store.delete("p")).rejects.toThrow("disk full");
  expect(await readable(store, ["p"], undefined, ["a"])).toEqual(["a"]);
});

test("a stored document that is not understood allows nothing and says so", async () => {
  const storage = memoryStorage();
  const value = Buffer.from(`path "a" { capabilities = ["read"]\n newer_limit = 3 }`);
  await storage.transaction([], [{ type: "put", key: "policy/p", value }]);
  const store = new PolicyStore(storage);
  await expect(store.acl(["default", "p"])).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  // It can be looked at and put right.
  expect(await store.read("p")).toBe(value.toString());
  await store.write("p", READ_A);
  expect(await readable(store, ["p"], undefined, ["a"])).toEqual(["a"]);
});
