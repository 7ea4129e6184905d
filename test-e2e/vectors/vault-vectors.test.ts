import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import {
  type AskPki,
  prepareMount,
  readIssuanceCases,
  readKeyRows,
  runIssuanceCases,
  runKeyRows,
} from "../../packages/control-plane/src/pki/testing/issuance-vectors.js";
import { Cluster } from "../src/harness/cluster.js";
import { type VaultApi, vaultApi, type VaultCall, VaultRefusal } from "../src/harness/vault-api.js";

/** The folder with tables measured on OpenBao: `npm run test:vectors -- FOLDER`. */
const FOLDER = z.string().min(1).parse(process.env["RK8S_VECTORS"]);

const operations = z.enum(["read", "create", "update", "patch", "delete", "list", "scan", "help"]);
const decisions = z.object({
  policies: z.array(z.string()),
  cases: z.array(z.object({ op: operations, path: z.string(), allowed: z.boolean(), sudo: z.boolean() })),
});
const tables = z.object({
  single: decisions,
  layered: decisions,
  params: z.object({
    policies: z.array(z.string()),
    cases: z.array(
      z.object({
        path: z.string(),
        wrap_ttl: z.number().nullable(),
        parameters: z.array(z.string()),
        allowed: z.boolean(),
      }),
    ),
  }),
  priority: z.array(z.object({ policy: z.string(), path: z.string() })),
  list_deny: z.object({
    policy: z.string(),
    cases: z.array(z.object({ path: z.string(), allowed: z.boolean() })),
  }),
});
const pathClasses = z.array(
  z.tuple([z.string(), z.enum(["shouldBeAuthed", "shouldBeUnauthedReadList", "shouldBeUnauthedWriteOnly"])]),
);

let cluster: Cluster;
let root: VaultApi;
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  root = await vaultApi(cluster);
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

async function readJson<S extends z.ZodType>(name: string, schema: S): Promise<z.output<S>> {
  return schema.parse(JSON.parse(await readFile(join(FOLDER, name), "utf8")));
}

/** What each class of paths answers without a token. */
const OPEN = {
  shouldBeAuthed: { read: false, list: false, write: false },
  shouldBeUnauthedReadList: { readOrList: true, write: false },
  shouldBeUnauthedWriteOnly: { read: false, write: true },
} as const;

/** What was found open, in the words of the path's class. */
function whatIsOpen(
  pathClass: keyof typeof OPEN,
  { read, list, write }: { readonly read: boolean; readonly list: boolean; readonly write: boolean },
): object {
  if (pathClass === "shouldBeAuthed") return { read, list, write };
  return pathClass === "shouldBeUnauthedReadList" ? { readOrList: read || list, write } : { read, write };
}

/** A client whose token has these policies and no others. */
async function withPolicies(documents: readonly string[], name: string): Promise<VaultApi> {
  const names = documents.map((_, index) => `${name}-${index}`);
  for (const [index, policy] of documents.entries()) {
    await root.write(`sys/policies/acl/${name}-${index}`, { policy });
  }
  const body = { policies: names, no_default_policy: true };
  const answer = await root.ask({ method: "POST", path: "auth/token/create", body });
  return root.as(
    z.object({ auth: z.object({ client_token: z.string() }) }).parse(answer.json).auth.client_token,
  );
}

const METHODS = {
  read: "GET",
  update: "PUT",
  patch: "PATCH",
  delete: "DELETE",
  list: "LIST",
  scan: "SCAN",
} as const;

/** Whether the policies let a request through: what lies behind may well not be there. */
async function isLetThrough(api: VaultApi, op: z.infer<typeof operations>, path: string): Promise<boolean> {
  if (op === "help") return (await api.ask({ method: "GET", path: `${path}?help=1` })).status !== 403;
  if (op === "create") return (await capabilities(api, path)).includes("create");
  const { status } = await api.ask({ method: METHODS[op], path, body: {} });
  return status !== 403;
}

/** What root is told of a token's capabilities on a path. */
async function capabilities(api: VaultApi, path: string): Promise<readonly string[]> {
  const data = await root.write("sys/capabilities", { token: api.token, paths: [path] });
  return z.array(z.string()).parse(data["capabilities"]);
}

test.each([
  { name: "single", count: 41 },
  { name: "layered", count: 26 },
] as const)("the table of $name decisions", async ({ name, count }) => {
  const { policies, cases } = (await readJson("acl_tables.json", tables))[name];
  expect(cases).toHaveLength(count);
  const api = await withPolicies(policies, name);
  for (const { op, path, allowed, sudo } of cases) {
    const able = await capabilities(api, path);
    // Asking for it would do it.
    const isAllowed = path === "sys/seal" ? able.includes(op) : await isLetThrough(api, op, path);
    // The table says nothing of sudo where nothing is allowed, and help asks no policy for it.
    const isSudo = allowed && op !== "help" ? able.includes("sudo") : sudo;
    expect({ op, path, allowed: isAllowed, sudo: isSudo }).toEqual({ op, path, allowed, sudo });
  }
});

test("the table of parameters and wrapping times", async () => {
  const { policies, cases } = (await readJson("acl_tables.json", tables)).params;
  expect(cases).toHaveLength(23);
  const api = await withPolicies(policies, "params");
  for (const { path, wrap_ttl, parameters, allowed } of cases) {
    const body = Object.fromEntries(parameters.map((name) => [name, "x"]));
    const headers = wrap_ttl === null ? {} : { "x-vault-wrap-ttl": String(wrap_ttl) };
    const { status } = await api.ask({ method: "PUT", path, body, headers });
    expect({ path, wrap_ttl, parameters, allowed: status !== 403 }).toEqual({
      path,
      wrap_ttl,
      parameters,
      allowed,
    });
  }
});

test("the table of priorities: the more specific rule decides", async () => {
  const { priority } = await readJson("acl_tables.json", tables);
  expect(priority).toHaveLength(7);
  for (const [index, { policy, path }] of priority.entries()) {
    const api = await withPolicies([policy], `priority-${index}`);
    expect({ policy, update: await isLetThrough(api, "update", path) }).toEqual({ policy, update: true });
    expect({ policy, read: await isLetThrough(api, "read", path) }).toEqual({ policy, read: false });
  }
});

test("the table of denied lists, with and without the slash at the end, by every way of listing", async () => {
  const { policy, cases } = (await readJson("acl_tables.json", tables)).list_deny;
  expect(cases).toHaveLength(7);
  const api = await withPolicies([policy], "list-deny");
  for (const { path, allowed } of cases) {
    const asked = [
      await isLetThrough(api, "list", path),
      await isLetThrough(api, "scan", path),
      (await api.ask({ method: "GET", path: `${path}?list=true` })).status !== 403,
    ];
    expect({ path, asked }).toEqual({ path, asked: [allowed, allowed, allowed] });
    // What is denied is denied without the slash as well.
    const isShortLetThrough = !allowed && (await isLetThrough(api, "list", path.slice(0, -1)));
    expect({ path, isShortLetThrough }).toEqual({ path, isShortLetThrough: false });
  }
});

test("the classes of paths: who may ask without a token", async () => {
  const classes = await readJson("pki_unauth_paths.json", pathClasses);
  expect(classes).toHaveLength(103);
  await root.write("sys/mounts/pki-classes", { type: "pki" });
  await root.write("pki-classes/root/generate/internal", { common_name: "classes", key_type: "ec" });
  await root.write("pki-classes/roles/test", { allow_any_name: true, key_type: "ec" });
  // By default it would live as long as the root, whose second may be over.
  const issued = await root.write("pki-classes/issue/test", { common_name: "a.example.com", ttl: "1h" });
  const nobody = root.as("");
  for (const [pattern, expected] of classes) {
    const path = `pki-classes/${pattern.replace("<serial>", String(issued["serial_number"]))}`;
    const isOpen = async (method: VaultCall["method"], body?: object): Promise<boolean> =>
      (await nobody.ask({ method, path, ...(body === undefined ? {} : { body }) })).status !== 403;
    const open = {
      read: await isOpen("GET"),
      list: await isOpen("LIST"),
      write: await isOpen("PUT", {}),
    };
    expect({ path, open: whatIsOpen(expected, open) }).toEqual({ path, open: OPEN[expected] });
    const rest = { patch: await isOpen("PATCH", {}), delete: await isOpen("DELETE") };
    expect({ path, ...rest }).toEqual({ path, patch: false, delete: false });
  }
});

test("the issuance cases and the key rows", async () => {
  await root.write("sys/mounts/pki-vectors", { type: "pki", config: { max_lease_ttl: "876000h" } });
  const ask: AskPki = async (operation, path, data) =>
    operation === "read" ? root.read(`pki-vectors/${path}`) : root.write(`pki-vectors/${path}`, data);
  await prepareMount(ask, "ec");
  const isRefusal = (error: unknown): boolean => error instanceof VaultRefusal && error.status === 400;
  const cases = await readIssuanceCases(FOLDER);
  expect(cases).toHaveLength(1269);
  expect((await runIssuanceCases(cases, ask, isRefusal)).slice(0, 5)).toEqual([]);
  const rows = await readKeyRows(FOLDER);
  expect(rows).toHaveLength(15);
  expect((await runKeyRows(rows, ask, isRefusal)).slice(0, 5)).toEqual([]);
}, 300_000);
