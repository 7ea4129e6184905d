import { mkdir, mkdtemp, readFile, rename, rm, stat, symlink, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Logger, RksError, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { type Verification, verifyFiles } from "../../audit/verify-files.js";
import { aMount, anAuditedRequest } from "../testing/audited-request.js";
import { type AuditBroker, type AuditBrokerInit, openAuditBroker } from "./audit-broker.js";
import type { LineWriter } from "./audit-device.js";
import type { AuditedRequest } from "./request-audit.js";

let folder: string;
let path: string;
let storage: Storage;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "broker "));
  path = join(folder, "audit.log");
  storage = memoryStorage();
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const done = { answer: { data: { certificate: "A", value: "s3cret" } }, error: undefined };
const kv = aMount({ path: "kv/", type: "kv" });

function openBroker(init: Partial<AuditBrokerInit> = {}): Promise<AuditBroker> {
  return openAuditBroker({ storage, clock: new FakeClock(), logger: silentLogger, ...init });
}

function enableFile(
  broker: AuditBroker,
  name = "file",
  filePath = path,
  options = {},
): Promise<readonly string[]> {
  const device = {
    type: "file",
    description: "",
    options: { file_path: filePath, ...options },
    local: false,
  };
  return broker.enable(name, device);
}

/** As the pipeline does it. */
async function record(broker: AuditBroker, request: AuditedRequest = anAuditedRequest()): Promise<void> {
  await broker.request(request);
  await broker.response(request, done);
}

/** Type and path of each line, `test` for the one that is written first. */
async function linesOf(file = path): Promise<string[]> {
  const text = await readFile(file, "utf8");
  expect(text === "" || text.endsWith("\n")).toBe(true);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as { type: string; request: { path: string } })
    .map(({ type, request }) => (request.path === "sys/audit/test" ? "test" : `${type} ${request.path}`));
}

const pair = ["request pki/issue/web", "response pki/issue/web"];
const unwritable = { code: "AUDIT_UNWRITABLE" };

/** Make a device that cannot write, and one that can again. */
async function fill(file = path): Promise<void> {
  await rename(file, `${file}.old`);
  await symlink("/dev/full", file);
}

test("with no device nothing is recorded and nothing refused", async () => {
  await using broker = await openBroker();
  await record(broker);
  expect(broker.list()).toEqual([]);
});

test("a device gets a line to try it, then a line for each request and each response", async () => {
  await using broker = await openBroker();
  expect(await enableFile(broker)).toEqual([]);
  await record(broker);
  expect(await linesOf()).toEqual(["test", ...pair]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("every device gets every line, each with hashes of its own, the same for the same value", async () => {
  await using broker = await openBroker();
  const other = join(folder, "other.log");
  await enableFile(broker, "a");
  await enableFile(broker, "b/c", other);
  const request = anAuditedRequest({ mount: kv, data: { value: "s3cret" } });
  await record(broker, request);
  const [own, others] = [await readFile(path, "utf8"), await readFile(other, "utf8")];
  expect(own.split(broker.hash("a", "s3cret"))).toHaveLength(4);
  expect(others.split(broker.hash("b/c/", "s3cret"))).toHaveLength(4);
  expect(broker.hash("a", "s3cret")).not.toBe(broker.hash("b/c", "s3cret"));
  expect(own + others).not.toContain("s3cret");
});

test("devices and their hashes are the same after the vault was sealed and unsealed", async () => {
  let hash = "";
  {
    await using broker = await openBroker();
    await enableFile(broker);
    hash = broker.hash("file", "a");
  }
  await using broker = await openBroker();
  expect(broker.list()).toMatchObject([{ path: "file/", type: "file", options: { file_path: path } }]);
  expect(broker.hash("file", "a")).toBe(hash);
  await record(broker);
  expect(await linesOf()).toEqual(["test", ...pair]);
});

test("half a line that a kill left is cut off when the vault is unsealed again", async () => {
  {
    await using broker = await openBroker();
    await enableFile(broker);
  }
  await writeFile(path, '{"time":"2026-01-02T03:04:05Z","type":"resp', { flag: "a" });
  await using broker = await openBroker();
  await record(broker);
  expect(await linesOf()).toEqual(["test", ...pair]);
});

test("a file with nothing but half a line is begun afresh", async () => {
  await writeFile(path, '{"ti');
  await using broker = await openBroker();
  await enableFile(broker);
  expect(await linesOf()).toEqual(["test"]);
});

test("a full disk refuses requests and answers, and all goes on when there is room", async () => {
  await using broker = await openBroker();
  await enableFile(broker);
  const begun = anAuditedRequest();
  await broker.request(begun);
  await fill();
  await expect(broker.response(begun, done)).rejects.toMatchObject(unwritable);
  await expect(broker.request(anAuditedRequest())).rejects.toMatchObject(unwritable);
  await unlink(path);
  await record(broker);
  expect(await linesOf()).toEqual(pair);
});

test("one device that works is enough, whichever it is", async () => {
  await using broker = await openBroker();
  const other = join(folder, "other.log");
  await enableFile(broker, "a");
  await enableFile(broker, "b", other);
  await fill();
  await record(broker);
  expect(await linesOf(other)).toEqual(["test", ...pair]);
  await unlink(path);
  await fill(other);
  await record(broker);
  expect(await linesOf()).toEqual(pair);
  await fill();
  await expect(broker.request(anAuditedRequest())).rejects.toMatchObject(unwritable);
});

test("a file that was moved away is made anew, without being asked and when asked", async () => {
  await using broker = await openBroker();
  await enableFile(broker);
  await rename(path, `${path}.1`);
  await record(broker);
  await rename(path, `${path}.2`);
  await broker.reopen();
  expect(await linesOf()).toEqual([]);
  expect([await linesOf(`${path}.1`), await linesOf(`${path}.2`)]).toEqual([["test"], pair]);
});

test("a vault whose devices cannot be opened refuses all but what repairs it", async () => {
  {
    await using broker = await openBroker();
    await enableFile(broker);
  }
  await rm(folder, { recursive: true });
  const logged: string[] = [];
  const logger: Logger = { ...silentLogger, error: (m) => logged.push(m), warn: (m) => logged.push(m) };
  await using broker = await openBroker({ logger });
  expect(logged).toEqual(["Audit log cannot be written"]);
  await expect(broker.request(anAuditedRequest())).rejects.toMatchObject(unwritable);

  const list = anAuditedRequest({ path: "sys/audit", operation: "read", mount: undefined });
  await record(broker, list);
  expect(broker.list()).toHaveLength(1);

  const enable = anAuditedRequest({ path: "sys/audit/second", mount: undefined });
  await broker.request(enable);
  await mkdir(folder);
  const second = join(folder, "second.log");
  await symlink("/dev/full", path);
  await enableFile(broker, "second", second);
  await broker.response(enable, { answer: undefined, error: undefined });
  expect(await linesOf(second)).toEqual(["test", "request sys/audit/second", "response sys/audit/second"]);
  await record(broker);
  expect(await linesOf(second)).toHaveLength(5);
  expect(logged).toContain("Request is handled without its audit line");
});

test("the last device that cannot be written can be disabled, and then nothing is recorded", async () => {
  await using broker = await openBroker();
  await enableFile(broker);
  await fill();
  const disable = anAuditedRequest({ path: "sys/audit/file", operation: "delete", mount: undefined });
  await broker.request(disable);
  await broker.disable("file");
  await broker.response(disable, { answer: undefined, error: undefined });
  await expect(record(broker)).resolves.toBeUndefined();
});

const auditPath = { mount: undefined, path: "sys/audit/file" };

test.each([
  { name: "without a token", request: { ...auditPath, token: undefined } },
  { name: "that is another path's", request: { ...auditPath, path: "sys/audit-hash/file" } },
  { name: "that reads one device", request: { ...auditPath, operation: "read" as const } },
  { name: "with a name that begins alike", request: { ...auditPath, path: "sys/auditor/file" } },
])("a request $name is no repair", async ({ request }) => {
  await using broker = await openBroker();
  await enableFile(broker);
  await fill();
  await expect(broker.request(anAuditedRequest(request))).rejects.toMatchObject(unwritable);
});

test("a repair that was refused is not answered while nothing can be written", async () => {
  await using broker = await openBroker();
  await enableFile(broker);
  await fill();
  const request = anAuditedRequest(auditPath);
  await broker.request(request);
  const refusal = { answer: undefined, error: "permission denied" };
  await expect(broker.response(request, refusal)).rejects.toMatchObject(unwritable);
});

test("disabling a device is recorded by it and answered by those that are left", async () => {
  await using broker = await openBroker();
  const other = join(folder, "other.log");
  await enableFile(broker, "a");
  await enableFile(broker, "b", other);
  const disable = anAuditedRequest({ path: "sys/audit/a", operation: "delete", mount: undefined });
  await broker.request(disable);
  await broker.disable("a");
  await broker.response(disable, { answer: undefined, error: undefined });
  expect(await linesOf()).toEqual(["test", "request sys/audit/a"]);
  expect(await linesOf(other)).toEqual(["test", "request sys/audit/a", "response sys/audit/a"]);
  await broker.disable("a");
  expect(broker.list().map((entry) => entry.path)).toEqual(["b/"]);
});

test("requests that were begun are recorded after the end, new ones refused", async () => {
  const broker = await openBroker();
  await enableFile(broker);
  const seal = anAuditedRequest({ path: "sys/seal", mount: undefined });
  await broker.request(seal);
  await broker[Symbol.asyncDispose]();
  await expect(broker.request(anAuditedRequest())).rejects.toMatchObject(unwritable);
  await broker.response(seal, { answer: undefined, error: undefined });
  expect(await linesOf()).toEqual(["test", "request sys/seal", "response sys/seal"]);
  await expect(broker.response(seal, done)).rejects.toMatchObject(unwritable);
  await broker[Symbol.asyncDispose]();
});

test("a device that hangs counts as failed at its deadline, and holds up nobody after that", async () => {
  const clock = new FakeClock();
  const hang: LineWriter = {
    write: (lines) => (lines.includes("audit/test") ? Promise.resolve() : new Promise(() => {})),
  };
  await using broker = await openBroker({ clock, stdout: hang });
  await enableFile(broker);
  await broker.enable("out", { type: "stdout", description: "", options: {}, local: false });
  // The file's chain rests after its first line.
  while (clock.pendingSleeps !== 1) await new Promise(setImmediate);
  const request = anAuditedRequest();
  const recording = broker.request(request);
  while ((await clock.nextSleep()) !== 15_000);
  while (clock.pendingSleeps > 2) await new Promise(setImmediate);
  clock.advance(15_000);
  await recording;
  await broker.response(request, done);
  expect(await linesOf()).toEqual(["test", ...pair]);
  await broker.disable("file");
  await expect(broker.request(anAuditedRequest())).rejects.toMatchObject(unwritable);
});

test("5,000 requests at once are all recorded, whole and once", { timeout: 20_000 }, async () => {
  await using broker = await openBroker();
  await enableFile(broker);
  for (let round = 0; round < 5; round += 1) {
    const requests = Array.from({ length: 1000 }, (_, index) =>
      anAuditedRequest({ id: `${round}-${index}` }),
    );
    await Promise.all(requests.map((request) => record(broker, request)));
  }
  const text = await readFile(path, "utf8");
  const ids = text
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => JSON.parse(line) as { type: string; request: { id: string } })
    .map(({ type, request }) => `${type} ${request.id}`);
  expect(new Set(ids).size).toBe(10_000);
  expect(ids).toHaveLength(10_000);
});

test("lines go to standard output, whole", async () => {
  const written: string[] = [];
  const stdout: LineWriter = { write: (lines) => Promise.resolve(void written.push(lines)) };
  await using broker = await openBroker({ stdout });
  await broker.enable("out", {
    type: "file",
    description: "",
    options: { file_path: "stdout" },
    local: false,
  });
  await record(broker);
  const lines = written.join("").split("\n");
  expect(lines).toHaveLength(4);
  expect(lines.every((line) => line === "" || line.startsWith('{"time":"'))).toBe(true);
});

test("a device for standard output where there is none keeps the vault closed, not sealed", async () => {
  const stdout: LineWriter = { write: () => Promise.resolve() };
  {
    await using broker = await openBroker({ stdout });
    await broker.enable("out", { type: "stdout", description: "", options: {}, local: false });
  }
  await using broker = await openBroker();
  await expect(broker.request(anAuditedRequest())).rejects.toMatchObject(unwritable);
});

test("raw values are warned of, when it is asked for and when the vault is unsealed", async () => {
  const logged: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (message) => logged.push(message) };
  {
    await using broker = await openBroker({ logger });
    expect(await enableFile(broker, "file", path, { log_raw: "true" })).toEqual([
      expect.stringContaining("log_raw"),
    ]);
  }
  await using broker = await openBroker({ logger });
  expect(logged).toEqual(["Audit device writes values in clear", "Audit device writes values in clear"]);
  await record(broker, anAuditedRequest({ mount: kv, data: { value: "s3cret" } }));
  expect(await readFile(path, "utf8")).toContain("s3cret");
});

test.each([
  { name: "a folder that is not there", file: "missing/audit.log" },
  { name: "a folder", file: "." },
  { name: "the file of another device", file: "audit.log" },
  { name: "another name of that file", file: "alias" },
  { name: "a file that is something else", file: "config.yaml" },
  { name: "a log of something else", file: "cluster.log" },
  { name: "a device", file: "full" },
])("$name is refused, changed in nothing, and no device is left behind", async ({ file }) => {
  await using broker = await openBroker();
  await enableFile(broker);
  await symlink(path, join(folder, "alias"));
  await symlink("/dev/full", join(folder, "full"));
  const others = {
    "config.yaml": "addr: x",
    "cluster.log": '{"time":"2026","type":"intent","id":"1"}\nhalf',
  };
  for (const [name, text] of Object.entries(others)) await writeFile(join(folder, name), text);
  await expect(enableFile(broker, "b", join(folder, file))).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(broker.list()).toHaveLength(1);
  for (const [name, text] of Object.entries(others))
    expect(await readFile(join(folder, name), "utf8")).toBe(text);
  await record(broker);
  expect(await linesOf()).toEqual(["test", ...pair]);
});

test("a path that is in use is refused, also when both come at once", async () => {
  await using broker = await openBroker();
  const results = await Promise.allSettled([
    enableFile(broker, "a"),
    enableFile(broker, "/a/", join(folder, "b.log")),
  ]);
  const codes = results.map((result) =>
    result.status === "rejected" ? RksError.from(result.reason).code : "done",
  );
  expect(codes).toEqual(["done", "ALREADY_EXISTS"]);
});

test("more devices than every request can be written to are refused", async () => {
  await using broker = await openBroker();
  for (let index = 0; index < 8; index += 1)
    await enableFile(broker, `d${index}`, join(folder, `${index}.log`));
  await expect(enableFile(broker, "d8", join(folder, "8.log"))).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("a device that cannot be remembered is not used, one that cannot be forgotten stays", async () => {
  let isFull = false;
  const full = new RksError("STORAGE_FULL", "full");
  const failing: Storage = Object.assign(Object.create(storage) as Storage, {
    get: storage.get.bind(storage),
    transaction: (...args: Parameters<Storage["transaction"]>) =>
      isFull ? Promise.reject(full) : storage.transaction(...args),
  });
  await using broker = await openBroker({ storage: failing });
  await enableFile(broker);
  isFull = true;
  await expect(enableFile(broker, "b", join(folder, "b.log"))).rejects.toBe(full);
  await expect(broker.disable("file")).rejects.toBe(full);
  await record(broker);
  expect(await linesOf()).toEqual(["test", ...pair]);
  expect(await linesOf(join(folder, "b.log"))).toEqual(["test"]);
});

test("a table of a form that is not known keeps the vault from being opened", async () => {
  const value = Buffer.from('{"version":2}');
  await storage.transaction([], [{ type: "put", key: "core/audit", value }]);
  await expect(openBroker()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

describe("the chain of a device's file", () => {
  const verify = async (broker: AuditBroker, ...files: readonly string[]): Promise<Verification> =>
    verifyFiles(files.length === 0 ? [path] : files, broker.head("file"));
  /** Where it is broken first, and how. */
  const firstBreak = async (broker: AuditBroker): Promise<string | undefined> => {
    const [problem] = (await verify(broker)).problems;
    return problem === undefined ? undefined : `${problem.line} ${problem.kind}`;
  };
  const lines = async (): Promise<string[]> => (await readFile(path, "utf8")).split("\n").slice(0, -1);
  const put = (changed: readonly string[]): Promise<void> =>
    writeFile(path, changed.map((line) => `${line}\n`).join(""));
  /** Enable a device, write five requests, seal. */
  const written = async (): Promise<void> => {
    await using broker = await openBroker();
    await enableFile(broker);
    for (let i = 0; i < 5; i += 1) await record(broker);
  };

  test("is at the end of every line, behind what Vault's log readers know", async () => {
    await using broker = await openBroker();
    await enableFile(broker);
    await record(broker);
    for (const [at, line] of (await lines()).entries()) {
      const { chain, ...known } = JSON.parse(line) as { chain: { seq: number; prev: string } };
      expect(chain).toEqual({ seq: at + 1, prev: expect.stringMatching(/^[0-9a-f]{64}$/) });
      expect(Object.keys(known).slice(0, 4)).toEqual(["time", "type", "auth", "request"]);
      expect(line).toMatch(/,"chain":\{[^}]*\}\}$/);
    }
    expect(await verify(broker)).toMatchObject({ isGood: true, isConfirmed: true, head: { sequence: 3 } });
  });

  test("goes on over sealing and over files that were moved away", async () => {
    await written();
    await using broker = await openBroker();
    await rename(path, `${path}.1`);
    await record(broker);
    await rename(path, `${path}.2`);
    await broker.reopen();
    await record(broker);
    const all = [path, `${path}.2`, `${path}.1`];
    expect(await verify(broker, ...all)).toMatchObject({
      isGood: true,
      isConfirmed: true,
      unchained: 0,
      head: { sequence: 15 },
    });
    expect((await verify(broker, path, `${path}.1`)).problems).toMatchObject([{ kind: "missing" }]);
  });

  test.each([
    {
      name: "a changed line",
      change: (all: string[]) => all.with(4, all[4]!.replace("pki", "kv")),
      found: "5 changed",
    },
    { name: "a removed line", change: (all: string[]) => all.toSpliced(4, 1), found: "5 missing" },
    {
      name: "a line twice",
      change: (all: string[]) => all.toSpliced(4, 0, all[3]!),
      found: "5 out-of-order",
    },
    { name: "a foreign line", change: (all: string[]) => all.toSpliced(4, 0, "{}"), found: "5 inserted" },
    { name: "a cut end", change: (all: string[]) => all.slice(0, -2), found: "10 missing" },
  ])("tells of $name", async ({ change, found }) => {
    await using broker = await openBroker();
    await enableFile(broker);
    for (let i = 0; i < 5; i += 1) await record(broker);
    await put(change(await lines()));
    expect(await firstBreak(broker)).toBe(found);
  });

  test("tells after the next unsealing that the file's end was cut meanwhile, in the file itself and in the log", async () => {
    await written();
    await put((await lines()).slice(0, -2));
    const logged: string[] = [];
    await using broker = await openBroker({ logger: { ...silentLogger, error: (m) => logged.push(m) } });
    await record(broker);
    expect(logged).toEqual(["Audit log is not what was written to it"]);
    expect((await linesOf())[9]).toBe("request sys/audit/broken");
    expect(await firstBreak(broker)).toBe("10 missing");
  });

  test("takes what a killed process had no time to remember for what it is", async () => {
    const kept = memoryStorage();
    {
      await using broker = await openBroker();
      await enableFile(broker);
      // What the store has from here on is lost to the next one.
      for (const { key, value } of (await storage.list("")).entries)
        await kept.transaction([], [{ type: "put", key, value }]);
      await record(broker);
      await record(broker);
    }
    await writeFile(path, '{"time":"2026-01-02T03:04:05Z","type":"resp', { flag: "a" });
    await using broker = await openBroker({ storage: kept });
    await record(broker);
    expect(await verify(broker)).toMatchObject({ isGood: true, isConfirmed: true, head: { sequence: 7 } });
  });

  test("goes on over a store that others have too and back", async () => {
    let isShared = false;
    const logged: string[] = [];
    const logger: Logger = { ...silentLogger, error: (message) => logged.push(message) };
    const live = (): Promise<AuditBroker> => openBroker({ host: "a", isShared: () => isShared, logger });
    {
      await using broker = await live();
      await enableFile(broker);
      await record(broker);
      isShared = true;
      await record(broker);
    }
    await rename(path, `${path}.1`);
    for (isShared of [true, false]) {
      await using broker = await live();
      await record(broker);
      expect(await verify(broker, path, `${path}.1`)).toMatchObject({ isGood: true, isConfirmed: true });
    }
    expect(logged).toEqual([]);
  });

  test("of a device that is enabled again begins anew, behind the lines that are there", async () => {
    await using broker = await openBroker();
    await enableFile(broker);
    await record(broker);
    await broker.disable("file");
    expect((await storage.list("core/audit-head/")).entries).toEqual([]);
    const other = join(folder, "other.log");
    await enableFile(broker, "file", other);
    await record(broker);
    expect(await verify(broker, other)).toMatchObject({
      isGood: true,
      isConfirmed: true,
      head: { sequence: 3 },
    });
    await broker.disable("file");
    await enableFile(broker);
    await record(broker);
    expect(await verify(broker)).toMatchObject({ isGood: true, isConfirmed: true, head: { sequence: 6 } });
  });

  test("is remembered without haste while lines are written, and at once when the vault is sealed", async () => {
    let saves = 0;
    const counting: Storage = Object.assign(Object.create(storage) as Storage, {
      get: storage.get.bind(storage),
      transaction: (...args: Parameters<Storage["transaction"]>) => {
        if (args[1].some(({ key }) => key.startsWith("core/audit-head/"))) saves += 1;
        return storage.transaction(...args);
      },
    });
    await using broker = await openBroker({ storage: counting });
    await enableFile(broker);
    for (let i = 0; i < 100; i += 1) await record(broker);
    expect(saves).toBeLessThan(3);
    await broker.rememberHeads();
    const [stored] = (await storage.list("core/audit-head/")).entries;
    const { sequence, sha256 } = broker.head("file");
    expect(JSON.parse(Buffer.from(stored!.value).toString())).toEqual({ sequence, sha256 });
  });

  test("waits for no store that does not answer when the vault is sealed", async () => {
    const clock = new FakeClock();
    let isStuck = false;
    const stuck: Storage = Object.assign(Object.create(storage) as Storage, {
      get: storage.get.bind(storage),
      transaction: (...args: Parameters<Storage["transaction"]>) =>
        isStuck ? new Promise(() => {}) : storage.transaction(...args),
    });
    const broker = await openBroker({ storage: stuck, clock });
    await enableFile(broker);
    isStuck = true;
    await record(broker);
    const remembering = broker.rememberHeads();
    while ((await clock.nextSleep()) !== 1000);
    clock.advance(1000);
    await expect(remembering).resolves.toBeUndefined();
  });

  test("is not there on standard output, nor of a device that is not", async () => {
    await using broker = await openBroker({ stdout: { write: () => Promise.resolve() } });
    await broker.enable("out", { type: "stdout", description: "", options: {}, local: false });
    expect(() => broker.head("out")).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
    expect(() => broker.head("none")).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  });
});
