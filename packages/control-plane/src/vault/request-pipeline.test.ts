import { mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import type { JsonObject } from "./backend.js";
import { anUnsealedVault, echoBackend, type TestVault } from "./testing/unsealed-vault.js";
import { aLenderState, lenderBackend, type LenderState } from "./testing/lender-backend.js";

const denied = { code: "PERMISSION_DENIED" };

let folder: string;
let state: LenderState;
let subject: TestVault;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pipeline-"));
  state = aLenderState();
  subject = await anUnsealedVault({
    backends: { echo: echoBackend, lender: lenderBackend(state) },
    loginMethods: { lender: lenderBackend(state) },
  });
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/e", { type: "echo" });
  await vault.write(root, "sys/mounts/db", { type: "lender" });
  await vault.write(root, "sys/auth/desk", { type: "lender" });
  await vault.write(root, "sys/policies/acl/e", { policy: `path "e/*" { capabilities = ["read"] }` });
});
afterEach(async () => {
  await subject[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

interface AuditLine {
  readonly type: string;
  readonly error?: string;
  readonly request: { readonly id: string; readonly operation: string; readonly path: string };
  readonly response?: JsonObject;
}

async function audited(path = join(folder, "audit.log")): Promise<readonly AuditLine[]> {
  const text = await readFile(path, "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as AuditLine);
}

async function enableAudit(path = join(folder, "audit.log")): Promise<void> {
  const options = { file_path: path };
  await subject.vault.write(subject.root, "sys/audit/file", { type: "file", options });
}

test("every request is recorded before and after, what is refused as well", async () => {
  const { vault, root } = subject;
  await enableAudit();
  const answer = await vault.read(root, "e/x");
  await vault.read("", "e/x").catch(() => undefined);
  await vault.read("hvs.wrong", "e/x").catch(() => undefined);
  await vault.write(await subject.tokenWith({ policies: ["e"] }), "e/x", {}).catch(() => undefined);
  await vault.read(root, "nowhere/x").catch(() => undefined);
  await vault.read("", "e/open");
  const lines = (await audited()).filter(
    ({ request }) => request.path.includes("/x") || request.path === "e/open",
  );
  expect(lines.map(({ type, request }) => [type, request.operation, request.path])).toEqual(
    [
      ["read", "e/x"],
      ["read", "e/x"],
      ["read", "e/x"],
      ["update", "e/x"],
      ["read", "nowhere/x"],
      ["read", "e/open"],
    ].flatMap(([operation, path]) => [
      ["request", operation, path],
      ["response", operation, path],
    ]),
  );
  const responses = lines.filter(({ type }) => type === "response");
  expect(responses.map(({ error }) => (error === undefined || error === "" ? "done" : "refused"))).toEqual([
    "done",
    "refused",
    "refused",
    "refused",
    "refused",
    "done",
  ]);
  expect(lines[0]?.request.id).toBe(answer?.request_id);
  expect(JSON.stringify(lines)).not.toContain(root.reveal());
});

test("a trailing slash counts for policies and the record, and leads to what may be had without it", async () => {
  const { vault, root } = subject;
  await enableAudit();
  const policy = `path "e/one" { capabilities = ["read"] } path "e/+/" { capabilities = ["read"] }
path "e/team/*" { capabilities = ["read"] }`;
  await vault.write(root, "sys/policies/acl/slash", { policy });
  const token = await subject.tokenWith({ policies: ["slash"] });
  const nothing = { code: "NOT_FOUND" };
  await expect(vault.read(token, "e/two/")).rejects.toMatchObject(nothing);
  await expect(vault.read(token, "e/team/")).rejects.toMatchObject(nothing);
  expect((await vault.read(token, "e/team/a/"))?.data).toMatchObject({ path: "team/a" });
  expect((await vault.read(token, "e/one/"))?.data).toMatchObject({ path: "one" });
  await expect(vault.read(token, "e/two")).rejects.toMatchObject(denied);
  await expect(vault.read(token, "e/two/more/")).rejects.toMatchObject(denied);
  const paths = (await audited()).map(({ request }) => request.path).filter((path) => path.startsWith("e/"));
  expect([...new Set(paths)]).toEqual(["e/two/", "e/team/", "e/team/a/", "e/one/", "e/two", "e/two/more/"]);
});

test("where nothing can be recorded nothing is done and nothing answered", async () => {
  const { vault, root } = subject;
  // What is enabled must be writable then; it fills up later.
  await vault.write(root, "sys/audit/file", { type: "file", options: { file_path: join(folder, "a.log") } });
  await rm(join(folder, "a.log"));
  await symlink("/dev/full", join(folder, "a.log"));
  const before = vault.sequence;
  for (const token of [root.reveal(), "", "wrong"]) {
    await expect(vault.write(token, "auth/token/create", {})).rejects.toMatchObject({
      code: "AUDIT_UNWRITABLE",
    });
  }
  await expect(vault.write("", "auth/desk/login", {})).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(vault.sequence).toBe(before);
});

test("a login's token, its lease and what was wrapped are taken back when the answer cannot be recorded", async () => {
  await subject.vault.write(subject.root, "sys/policies/acl/db", {
    policy: `path "db/*" { capabilities = ["read"] }`,
  });
  await enableAudit();
  const before = (await subject.vault.barrier.list("token/id/")).entries.length;
  state.onLend = async () => {
    await rm(join(folder, "audit.log"));
    await symlink("/dev/full", join(folder, "audit.log"));
  };
  const request = { operation: "read", path: "db/lend/a", clientToken: subject.root } as const;
  await expect(subject.vault.handle({ ...request, wrapTtlSeconds: 60 })).rejects.toMatchObject({
    code: "AUDIT_UNWRITABLE",
  });
  expect(state.revoked).toEqual(["a"]);
  expect((await subject.vault.barrier.list("token/id/")).entries).toHaveLength(before);
  expect((await subject.vault.barrier.list("cubbyhole/")).entries).toEqual([]);
});

test("sealing is recorded to its end", async () => {
  await enableAudit();
  await subject.vault.write(subject.root, "sys/seal", {});
  expect(subject.vault.status().sealed).toBe(true);
  expect((await audited()).slice(-2).map(({ type, request }) => [type, request.path])).toEqual([
    ["request", "sys/seal"],
    ["response", "sys/seal"],
  ]);
});

test("help describes a path, or all of a mount, to whoever holds a token", async () => {
  const { vault } = subject;
  const clientToken = await subject.tokenWith({ policies: ["e"] });
  const help = async (path: string, token = clientToken): Promise<unknown> =>
    (await vault.handle({ operation: "help", path, clientToken: token }))?.data?.["help"];
  expect(await help("db/lend/x")).toBe(
    "db/lend/:name\n    read: Lend.\n        ttl (duration)\n        max (duration)",
  );
  expect(await help("auth/token")).toContain("auth/token/create-orphan");
  expect(await help("sys/mounts")).toContain("List the mounts.");
  await expect(help("db/lend/x", "")).rejects.toMatchObject(denied);
  await expect(help("nowhere/x")).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(help("db/nothing/here")).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("whether a path exists is for those who hold a token that may ask", async () => {
  const { vault, root } = subject;
  for (const path of ["nowhere/x", "db/nothing", "db/lend/x"]) {
    await expect(vault.write("", path, {})).rejects.toMatchObject(denied);
    await expect(vault.write(await subject.tokenWith({ policies: ["e"] }), path, {})).rejects.toMatchObject(
      denied,
    );
  }
  await expect(vault.read(root, "nowhere/x")).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(vault.read(root, "db/nothing")).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(vault.write(root, "db/lend/x", {})).rejects.toMatchObject({ code: "UNSUPPORTED" });
});

test("a login gives a token with what was granted, bounded by the mount, and none with root", async () => {
  const { vault, root } = subject;
  await vault.write(root, "sys/auth/desk/tune", { default_lease_ttl: "1h", max_lease_ttl: "2h" });
  const logIn = async (data: JsonObject): Promise<unknown> =>
    (await vault.write("", "auth/desk/login", data))?.auth;
  expect(await logIn({ name: "ann", policy: "web" })).toMatchObject({
    policies: ["default", "web"],
    metadata: { name: "ann" },
    lease_duration: 3600,
    renewable: true,
    orphan: true,
    token_type: "service",
    entity_id: "",
  });
  expect(await logIn({ ttl: "3h" })).toMatchObject({ lease_duration: 7200 });
  expect(await logIn({ ttl: "3h", max: "90m" })).toMatchObject({ lease_duration: 5400 });
  expect(await logIn({ period: "10m" })).toMatchObject({ lease_duration: 600 });
  expect(await logIn({ no_default: true, policy: "web" })).toMatchObject({ policies: ["web"] });
  expect(await logIn({ type: "batch" })).toMatchObject({ token_type: "batch", renewable: false });
  await expect(logIn({ policy: "root" })).rejects.toMatchObject(denied);
  await expect(logIn({ policy: "response-wrapping" })).rejects.toMatchObject(denied);
  await vault.write(root, "sys/auth/desk/tune", { token_type: "batch" });
  expect(await logIn({ type: "service" })).toMatchObject({ token_type: "batch" });
});

test("a login that is bound to a network is good from there, the token as well", async () => {
  const { vault } = subject;
  const logIn = (remoteAddress: string): ReturnType<typeof vault.handle> =>
    vault.handle({
      operation: "update",
      path: "auth/desk/login",
      data: { cidr: "10.0.0.0/8" },
      connection: { remoteAddress },
    });
  await expect(logIn("11.0.0.1")).rejects.toMatchObject(denied);
  const clientToken = (await logIn("10.0.0.1"))?.auth?.client_token;
  const lookup = { operation: "read", path: "auth/token/lookup-self", clientToken } as const;
  expect(await vault.handle({ ...lookup, connection: { remoteAddress: "10.9.9.9" } })).toBeDefined();
  await expect(vault.handle({ ...lookup, connection: { remoteAddress: "11.0.0.1" } })).rejects.toMatchObject(
    denied,
  );
  await expect(vault.handle(lookup)).rejects.toMatchObject(denied);
});

test("a login's mount is asked before its token is renewed, and decides how long", async () => {
  const { vault, root } = subject;
  await vault.write(root, "sys/auth/desk/tune", { default_lease_ttl: "1h", max_lease_ttl: "2h" });
  const auth = (await vault.write("", "auth/desk/login", { name: "ann" }))?.auth;
  const token = auth?.client_token ?? "";
  const asked: JsonObject[] = [];
  state.onRenew = (renewal) => asked.push(renewal);
  subject.advanceSeconds(3000);
  expect((await vault.write(token, "auth/token/renew-self", {}))?.auth?.lease_duration).toBe(3600);
  expect(asked).toEqual([{ name: "ann" }]);
  subject.advanceSeconds(3000);
  expect((await vault.write(token, "auth/token/renew-self", {}))?.auth?.lease_duration).toBe(1200);
  state.onRenew = () => {
    throw new Error("ann has left");
  };
  await expect(vault.write(token, "auth/token/renew-self", {})).rejects.toThrow("ann has left");
});

test("unmounting a login method ends its tokens", async () => {
  const { vault, root } = subject;
  const token = (await vault.write("", "auth/desk/login", {}))?.auth?.client_token ?? "";
  const other = await subject.tokenWith({ policies: ["e"] });
  await vault.delete(root, "sys/auth/desk");
  await expect(vault.read(token, "auth/token/lookup-self")).rejects.toMatchObject(denied);
  expect(await vault.read(other, "auth/token/lookup-self")).toBeDefined();
});
