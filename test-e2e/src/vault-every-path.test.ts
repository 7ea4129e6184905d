import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { type ApiOperation, apiOperations, pathOf } from "./harness/api-operations.js";
import { Cluster } from "./harness/cluster.js";
import { narrowToken, type VaultApi, vaultApi } from "./harness/vault-api.js";
import { socketWireTo, type Wire, wireTo } from "./harness/wire.js";

/** Every operation that the vault describes, walked with each way in which it must be refused. */
let cluster: Cluster;
let root: VaultApi;
let wire: Wire;
let operations: readonly ApiOperation[];
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  root = await vaultApi(cluster);
  wire = await wireTo(cluster);
  await root.write("sys/mounts/pki", { type: "pki" });
  await root.write("sys/mounts/kv", { type: "kv" });
  await root.write("sys/mounts/kv2", { type: "kv", options: { version: "2" } });
  for (const type of ["approle", "cert", "join-token", "kubernetes"])
    await root.write(`sys/auth/${type}`, { type });
  operations = await apiOperations(root);
});
afterAll(async () => {
  wire?.[Symbol.dispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/** A token that may what this policy says and nothing else. */
async function tokenWith(name: string, policy: string): Promise<string> {
  await root.write(`sys/policies/acl/${name}`, { policy });
  return narrowToken(root, [name]);
}

const headersFor = (method: string): Record<string, string> => ({
  "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
});

/** Something in the place of every parameter. */
const somewhere = (operation: ApiOperation): string => pathOf(operation, () => "a");

test("a list is refused to who may do all else, by every way to list", async () => {
  const token = await tokenWith(
    "all-but-list",
    `path "*" { capabilities = ["create", "read", "update", "patch", "delete", "sudo"] }`,
  );
  const lists = operations.filter(({ method, isOpen }) => method === "LIST" && !isOpen);
  expect(lists.length).toBeGreaterThan(20);
  const listed: string[] = [];
  for (const path of lists.map((list) => somewhere(list).replace(/\/$/, ""))) {
    const ways = [
      ["LIST", path],
      ["LIST", `${path}/`],
      ["GET", `${path}?list=true`],
      ["GET", `${path}/?list=1`],
      ["SCAN", path],
      ["GET", `${path}?scan=true`],
    ] as const;
    for (const [method, asked] of ways) {
      const { status } = await wire.send({ method, path: asked, token });
      if (status !== 403) listed.push(`${method} ${asked}: ${status}`);
    }
  }
  expect(listed).toEqual([]);
});

test("nobody without a token, with a wrong one or with one of no rights gets past what is not open", async () => {
  const none = await tokenWith("nowhere", `path "nowhere" { capabilities = ["read"] }`);
  const closed = operations.filter(({ isOpen, template }) => !isOpen && !template.startsWith("/rk8s-pki/"));
  expect(closed.length).toBeGreaterThan(200);
  const open: string[] = [];
  for (const operation of closed) {
    // As OpenBao: whoever gives a token that wraps nothing is told so.
    const expected = /^\/sys\/wrapping\/(un|re)wrap$/.test(operation.template) ? 400 : 403;
    for (const token of [undefined, "", "hvs.wrong", `${root.token}x`, root.token.slice(0, -1), none]) {
      const { method } = operation;
      const headers = {
        "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
      };
      const { status } = await wire.send({ method, path: somewhere(operation), token, headers });
      if (status !== expected) open.push(`${method} ${operation.template}: ${status}`);
    }
  }
  expect(open).toEqual([]);
});

/** Objects that the path itself looks into, after it has looked at what they belong to. */
const INNER = ["config", "metadata"];

const WRONG: Readonly<Record<string, readonly unknown[]>> = {
  boolean: ["maybe", 2, [], {}],
  string: [{}, [], true],
  integer: ["many", {}, [], 1.5, true],
  duration: ["soon", {}, [], "1 fortnight"],
  array: [5, { a: "b" }, [["a"]], true],
  object: [5, "x", ["a"], true],
};
test("a wrong type in any field is 400 and names the field", async () => {
  const writes = operations.filter(({ method }) => method === "POST" || method === "PATCH");
  const unnamed: string[] = [];
  let cases = 0;
  for (const operation of writes) {
    const { method, fields } = operation;
    const headers = {
      "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
    };
    const wrong = Object.entries(fields).flatMap(([name, type]) =>
      (WRONG[type ?? ""] ?? []).map((value) => ({ name, value })),
    );
    const replies = await Promise.all(
      wrong.map(({ name, value }) =>
        wire.send({
          method,
          path: somewhere(operation),
          token: root.token,
          headers,
          body: JSON.stringify({ [name]: value }),
        }),
      ),
    );
    cases += replies.length;
    for (const [index, { status, text }] of replies.entries()) {
      const { name, value } = wrong[index]!;
      if (status !== 400 || !(text.includes(name) || INNER.includes(name)))
        unnamed.push(
          `${method} ${operation.template} ${JSON.stringify({ [name]: value })}: ${status} ${text.slice(0, 150)}`,
        );
    }
  }
  expect(unnamed).toEqual([]);
  expect(cases).toBeGreaterThan(2000);
});

const sealedAnswer = z.looseObject({ errors: z.tuple([z.literal("Vault is sealed")]) });

test("sealed, everything is 503 but what opens it, and the socket opens it", async () => {
  expect((await root.ask({ method: "PUT", path: "sys/seal" })).status).toBe(204);
  const answered: string[] = [];
  for (const operation of operations) {
    const { method } = operation;
    const path = somewhere(operation);
    for (const token of [root.token, undefined]) {
      const { status, json } = await wire.send({ method, path, token, headers: headersFor(method) });
      const isSealed = status === 503 && sealedAnswer.safeParse(json).success;
      if (!isSealed && token !== undefined) answered.push(`${method} ${path}: ${status}`);
      expect({ path, is500: status === 500 }).toEqual({ path, is500: false });
    }
  }
  expect(answered.toSorted()).toEqual([
    // With the status for sealed.
    "GET /v1/sys/health: 503",
    "GET /v1/sys/init: 200",
    "GET /v1/sys/replication/dr/status: 200",
    "GET /v1/sys/replication/performance/status: 200",
    "GET /v1/sys/replication/status: 200",
    "GET /v1/sys/seal-status: 200",
    // They read what they are given, and that was nothing.
    "POST /v1/sys/decode-token: 400",
    "POST /v1/sys/init: 400",
    "POST /v1/sys/unseal: 400",
  ]);
  const socket = socketWireTo(cluster);
  expect((await socket.send({ method: "GET", path: "/v1/sys/seal-status" })).json).toMatchObject({
    sealed: true,
  });
  expect((await socket.send({ method: "GET", path: "/v1/sys/mounts" })).status).toBe(503);
  const { keys } = z
    .object({ keys: z.array(z.string()) })
    .parse(JSON.parse(await readFile(join(cluster.vaultFolder, "keys.json"), "utf8")));
  const body = JSON.stringify({ key: keys[0] });
  expect((await socket.send({ method: "PUT", path: "/v1/sys/unseal", body })).json).toMatchObject({
    sealed: false,
  });
  expect((await root.ask({ method: "GET", path: "sys/mounts" })).status).toBe(200);
});
