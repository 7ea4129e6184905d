import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage } from "@rk8s/storage";
import { afterEach, beforeEach, expect, test } from "vitest";

import type { Answer, Backend, JsonObject, Operation } from "../backend.js";
import { PathTable } from "../path-table.js";
import { askBackend } from "../testing/ask-backend.js";
import { anAuditedRequest } from "../testing/audited-request.js";
import { type AuditBroker, openAuditBroker } from "./audit-broker.js";
import { auditPaths } from "./audit-paths.js";

let folder: string;
let path: string;
let broker: AuditBroker;
let backend: Backend;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "audit paths "));
  path = join(folder, "audit.log");
  broker = await openAuditBroker({ storage: memoryStorage(), clock: new FakeClock(), logger: silentLogger });
  backend = { paths: new PathTable(auditPaths(broker)), [Symbol.asyncDispose]: () => Promise.resolve() };
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

function ask(
  operation: Exclude<Operation, "help">,
  at: string,
  data: JsonObject = {},
): Promise<Answer | undefined> {
  return askBackend(backend, operation, at, data);
}

test("a device is enabled, listed, asked for a hash and disabled, as clients do it", async () => {
  const device = { type: "file", description: "all", options: { file_path: path }, local: null };
  expect(await ask("update", "audit/file", device)).toBeUndefined();
  const listed = {
    data: {
      "file/": {
        path: "file/",
        type: "file",
        description: "all",
        options: { file_path: path },
        local: false,
      },
    },
    form: "repeated",
  };
  expect(await ask("read", "audit")).toEqual(listed);
  expect(await ask("list", "audit/")).toEqual(listed);
  await broker.request(anAuditedRequest({ mount: undefined, data: { password: "s3cret" } }));
  const answer = await ask("update", "audit-hash/file", { input: "s3cret" });
  expect(answer).toEqual({ data: { hash: broker.hash("file", "s3cret") }, form: "repeated" });
  expect(await readFile(path, "utf8")).toContain(`"password":"${broker.hash("file", "s3cret")}"`);
  expect(await ask("delete", "audit/file")).toBeUndefined();
  expect(await ask("delete", "audit/file")).toBeUndefined();
  expect(await ask("read", "audit")).toMatchObject({ data: {} });
});

test("only those with sudo list, enable and disable devices", () => {
  const access = auditPaths(broker).map(({ pattern, operations }) => [
    pattern,
    Object.entries(operations).map(([verb, { access: who }]) => `${verb} ${who}`),
  ]);
  expect(access).toEqual([
    ["audit", ["read sudo", "list sudo"]],
    ["audit/*path", ["update sudo", "delete sudo"]],
    ["audit-hash/*path", ["update token"]],
    ["audit-head/*path", ["read token"]],
  ]);
});

test("the last line of a device is told, with the file that it is in", async () => {
  await ask("update", "audit/file", { type: "file", options: { file_path: path } });
  const [line = ""] = (await readFile(path, "utf8")).split("\n");
  const sha256 = createHash("sha256").update(line).digest("hex");
  expect(await ask("read", "audit-head/file")).toEqual({
    data: { file_path: path, sequence: 1, sha256 },
    form: "repeated",
  });
});

test("options may be of JSON's types, and older names are known", async () => {
  const options = {
    path,
    log_raw: true,
    hmac_accessor: false,
    mode: "0600",
    format: "json",
    file_path: null,
  };
  const answer = await ask("update", "audit/file", { type: "file", options });
  expect(answer).toEqual({ warnings: [expect.stringContaining("log_raw")] });
  expect(broker.list()[0]?.options).toEqual({
    path,
    log_raw: "true",
    hmac_accessor: "false",
    mode: "0600",
    format: "json",
  });
});

test.each([
  { name: "no type", data: {} },
  { name: "a type that there is not", data: { type: "syslog" } },
  { name: "a socket", data: { type: "socket", options: { address: "127.0.0.1:1" } } },
  { name: "no file", data: { type: "file" } },
  { name: "a relative file", data: { type: "file", options: { file_path: "audit.log" } } },
  { name: "a file for standard output", data: { type: "stdout", options: { file_path: "/x" } } },
  { name: "standard output where there is none", data: { type: "stdout" } },
  { name: "another format", data: { type: "file", options: { file_path: "/x", format: "jsonx" } } },
  { name: "another mode", data: { type: "file", options: { file_path: "/x", mode: "0644" } } },
  { name: "an option that it has not", data: { type: "file", options: { file_path: "/x", filter: "a" } } },
  {
    name: "an option of the wrong type",
    data: { type: "file", options: { file_path: "/x", log_raw: "maybe" } },
  },
  { name: "options that are none", data: { type: "file", options: "file_path=/x" } },
])("$name is refused", async ({ data }) => {
  await expect(ask("update", "audit/file", data)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(broker.list()).toEqual([]);
});

test("the refusal of a type names those that there are", async () => {
  await expect(ask("update", "audit/x", { type: "syslog" })).rejects.toMatchObject({
    message: expect.stringContaining("syslog") as string,
    suggestion: "Use one of: file, stdout.",
  });
});

test.each(["..", "a b", "a//b", "a/b/c/d/e", "x".repeat(129)])(
  "the device path %j is refused",
  async (name) => {
    await expect(broker.disable(name)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  },
);

test("a hash of nothing, and one of a device that there is not, are refused", async () => {
  await expect(ask("update", "audit-hash/file", {})).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await expect(ask("update", "audit-hash/file", { input: "a" })).rejects.toMatchObject({ code: "NOT_FOUND" });
});
