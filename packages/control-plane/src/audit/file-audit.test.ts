import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, rm, stat, symlink, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AuditLog } from "./audit-log.js";
import { openFileAudit } from "./file-audit.js";
import { MemoryHeads } from "./testing/memory-heads.js";

let folder: string;
let path: string;
let heads: MemoryHeads;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "audit "));
  path = join(folder, "audit.log");
  heads = new MemoryHeads();
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

const event = { operation: "join", actor: "join token 01", fields: { nodeName: "worker-1" } };

function open(): Promise<AuditLog> {
  let id = 0;
  return openFileAudit(path, {
    clock: new FakeClock({ now: Date.parse("2026-01-02T03:04:05Z") }),
    logger: silentLogger,
    newId: () => String(++id),
    heads,
  });
}

async function lines(): Promise<unknown[]> {
  const text = await readFile(path, "utf8");
  expect(text === "" || text.endsWith("\n")).toBe(true);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as unknown);
}

test("writes one JSON line a record, readable by its owner only", async () => {
  await using audit = await open();
  const id = await audit.intent(event);
  await audit.result(event, { outcome: "done", fields: { serialNumber: "0a" } }, id);
  const time = "2026-01-02T03:04:05.000Z";
  expect(await lines()).toEqual([
    { time, type: "intent", id: "1", ...event, chain: { seq: 1, prev: "0".repeat(64) } },
    {
      time,
      type: "result",
      id: "1",
      ...event,
      outcome: "done",
      fields: { nodeName: "worker-1", serialNumber: "0a" },
      chain: { seq: 2, prev: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
    },
  ]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("records from many callers at once are all there, each once", async () => {
  await using audit = await open();
  const ids = await Promise.all(Array.from({ length: 500 }, () => audit.intent(event)));
  expect(new Set(ids).size).toBe(500);
  expect(await lines()).toHaveLength(500);
});

test("goes on after the lines of an earlier run, without the half line that a kill left", async () => {
  await writeFile(path, `{"type":"intent","id":"a"}\n{"type":"res${randomBytes(70_000).toString("hex")}`);
  await using audit = await open();
  await audit.intent(event);
  expect(await lines()).toMatchObject([
    { id: "a" },
    { operation: "audit.cut-off", actor: "rks", fields: { bytes: 140_012 }, chain: { seq: 1 } },
    { operation: "join", chain: { seq: 2 } },
  ]);
});

test("a file that consists of half a line only is begun afresh", async () => {
  await writeFile(path, "{");
  await using audit = await open();
  await audit.intent(event);
  expect(await lines()).toMatchObject([{ operation: "audit.cut-off" }, { operation: "join" }]);
});

test("tightens the mode of a file that others could read", async () => {
  await writeFile(path, "");
  await chmod(path, 0o644);
  await using audit = await open();
  await audit.intent(event);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("a folder that does not exist is AUDIT_UNWRITABLE", async () => {
  path = join(folder, "missing", "audit.log");
  await expect(open()).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE", retryable: true });
});

test("a disk without room is AUDIT_UNWRITABLE, and writing goes on when there is room again", async () => {
  await symlink("/dev/full", path);
  await expect(open().then((audit) => audit.intent(event))).rejects.toMatchObject({
    code: "AUDIT_UNWRITABLE",
  });
  await unlink(path);
  await using audit = await open();
  await audit.intent(event);
  expect(await lines()).toHaveLength(1);
});

test("a closed log takes nothing", async () => {
  const audit = await open();
  await audit[Symbol.asyncDispose]();
  await audit[Symbol.asyncDispose]();
  await expect(audit.intent(event)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
});
