import {
  appendFile,
  mkdir,
  mkdtemp,
  open,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Logger, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { afterEach, beforeEach, expect, type MockInstance, test, vi } from "vitest";

import { AuditChain } from "./audit-chain.js";
import { DurableLines, type DurableLinesInit } from "./durable-lines.js";
import { MemoryHeads } from "./testing/memory-heads.js";

let folder: string;
let path: string;
let handles: FileHandle;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lines "));
  path = join(folder, "audit.log");
  const any = await open(folder, "r");
  handles = Object.getPrototypeOf(any) as FileHandle;
  await any.close();
});

afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const noSpace = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });

function aLog(init: Partial<DurableLinesInit> = {}): DurableLines {
  return new DurableLines(path, { logger: silentLogger, ...init });
}

/** The next writes reach the file and fail none the less, as when the disk is full only once they are to last. */
function failAfterWriting(times: number): { restore(): void } {
  const write = vi.spyOn(handles, "write");
  for (let i = 0; i < times; i++) {
    write.mockImplementationOnce(async function (this: FileHandle, bytes: unknown) {
      await this.writev([bytes as Uint8Array]);
      throw noSpace;
    });
  }
  return { restore: () => write.mockRestore() };
}

/** The next write waits, then is done. */
function hangBeforeWriting(hang: Promise<void>): MockInstance {
  return vi.spyOn(handles, "write").mockImplementationOnce(async function (this: FileHandle, bytes: unknown) {
    await hang;
    const { bytesWritten } = await this.writev([bytes as Uint8Array]);
    return { bytesWritten, buffer: bytes };
  } as never);
}

function text(file = path): Promise<string> {
  return readFile(file, "utf8");
}

test("5,000 lines of many callers are on disk in order, with a write for hundreds of them", async () => {
  const writes = vi.spyOn(handles, "write");
  await using log = aLog();
  const lines = Array.from({ length: 5000 }, (_, index) => `${index}\n`);
  for (let at = 0; at < lines.length; at += 500) {
    await Promise.all(lines.slice(at, at + 500).map((line) => log.append(line)));
  }
  expect(await text()).toBe(lines.join(""));
  expect(writes.mock.calls).toHaveLength(10);
});

test("callers that come while a batch is written share the next one", async () => {
  const writes = vi.spyOn(handles, "write");
  await using log = aLog();
  const first = log.append("a\n");
  await vi.waitFor(() => expect(writes).toHaveBeenCalled());
  await Promise.all([first, ...["b\n", "c\n", "d\n"].map((line) => log.append(line))]);
  expect(writes).toHaveBeenCalledTimes(2);
  expect(await text()).toBe("a\nb\nc\nd\n");
});

test("a file that was moved away is left alone, and a new one begun", async () => {
  await using log = aLog();
  await log.append("a\n");
  await rename(path, `${path}.1`);
  await log.append("b\n");
  expect([await text(`${path}.1`), await text()]).toEqual(["a\n", "b\n"]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("a new file begins when the end of the one before is remembered, however much the chain rests", async () => {
  const heads = new MemoryHeads();
  const rest = { ms: 250, clock: new FakeClock() };
  await using log = aLog({ chain: new AuditChain({ heads, logger: silentLogger, rest }) });
  for (const line of ['{"at":1}\n', '{"at":2}\n', '{"at":3}\n']) await log.append(line);
  expect(heads.head?.sequence).toBe(1);
  await rename(path, `${path}.1`);
  await log.append('{"at":4}\n');
  const killed = new AuditChain({ heads, logger: silentLogger });
  expect(await killed.resume(Buffer.from(await text()), true)).toBeUndefined();
  expect(killed.head?.sequence).toBe(4);
});

test("a file that was deleted is made again", async () => {
  await using log = aLog();
  await log.append("a\n");
  await unlink(path);
  await log.append("b\n");
  expect(await text()).toBe("b\n");
});

test("a file that another put in its place is appended to", async () => {
  await using log = aLog();
  await log.append("a\n");
  await writeFile(`${path}.new`, "x\n");
  await rename(`${path}.new`, path);
  await log.append("b\n");
  expect(await text()).toBe("x\nb\n");
});

test("a file that was copied and emptied goes on from its beginning, also when a write fails then", async () => {
  await using log = aLog();
  await log.append("a long line\n");
  await truncate(path);
  await log.append("b\n");
  failAfterWriting(1);
  await expect(log.append("c\n")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await log.append("d\n");
  expect(await text()).toBe("b\nd\n");
});

test("what others appended is not cut off when a write fails", async () => {
  await using log = aLog();
  await log.append("a\n");
  await appendFile(path, "other\n");
  failAfterWriting(1);
  await expect(log.append("b\n")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(await text()).toBe("a\nother\n");
});

test("asked to, it opens the file anew, and tells when that is not possible", async () => {
  const opened = vi.spyOn(handles, "sync");
  await using log = aLog();
  await log.append("a\n");
  const before = opened.mock.calls.length;
  await log.reopen();
  expect(opened.mock.calls.length).toBeGreaterThan(before);
  await rm(folder, { recursive: true });
  await expect(log.reopen()).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await expect(log.append("b\n")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await mkdir(folder);
  await log.append("c\n");
  expect(await text()).toBe("c\n");
});

test("half a batch on a full disk is cut off again, and the next one is whole", async () => {
  await using log = aLog();
  await log.append("a\n");
  const write = vi.spyOn(handles, "write");
  write.mockImplementationOnce(async function (this: FileHandle, bytes: unknown) {
    write.mockRejectedValueOnce(noSpace);
    const half = (bytes as Uint8Array).subarray(0, 4);
    const written = await this.writev([half]);
    return { bytesWritten: written.bytesWritten, buffer: bytes } as never;
  });
  await expect(log.append("bcdefgh\n")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(await text()).toBe("a\n");
  await log.append("i\n");
  expect(await text()).toBe("a\ni\n");
});

test("the failing of a batch is everybody's in it, is logged once, and so is its end", async () => {
  const logged: string[] = [];
  const note = (message: string): number => logged.push(message);
  const logger: Logger = { ...silentLogger, error: note, info: note };
  await using log = aLog({ logger });
  const failing = failAfterWriting(3);
  for (let round = 0; round < 3; round += 1) {
    const results = await Promise.allSettled([log.append("a\n"), log.append("b\n")]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  }
  failing.restore();
  await log.append("c\n");
  expect(await text()).toBe("c\n");
  expect(logged).toEqual(["Audit log cannot be written", "Audit log can be written again"]);
});

test("a write that hangs fails at the deadline, later ones at once, until it has ended", async () => {
  const clock = new FakeClock();
  let release = (): void => undefined;
  const hang = new Promise<void>((resolve) => (release = resolve));
  await using log = aLog({ deadline: { ms: 1000, clock } });
  await log.append("a\n");
  const write = hangBeforeWriting(hang);
  const hanging = log.append("b\n");
  await vi.waitFor(() => expect(write).toHaveBeenCalled());
  const waiting = log.append("c\n");
  clock.advance(1000);
  await expect(hanging).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await expect(waiting).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await expect(log.append("d\n")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  release();
  await vi.waitFor(() => log.append("e\n"));
  expect(await text()).toBe("a\nb\ne\n");
  expect(clock.pendingSleeps).toBe(0);
});

test("the end does not wait for a write that hangs", async () => {
  const clock = new FakeClock();
  let release = (): void => undefined;
  const hang = new Promise<void>((resolve) => (release = resolve));
  const log = aLog({ deadline: { ms: 1000, clock } });
  const write = hangBeforeWriting(hang);
  const hanging = log.append("b\n");
  await vi.waitFor(() => expect(write).toHaveBeenCalled());
  clock.advance(1000);
  await expect(hanging).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await log[Symbol.asyncDispose]();
  release();
});

test("more lines than may wait are BUSY", async () => {
  await using log = aLog();
  const results = await Promise.allSettled(Array.from({ length: 4100 }, () => log.append("a\n")));
  const refused = results.flatMap((result) =>
    result.status === "rejected" ? [result.reason as unknown] : [],
  );
  expect(refused).toHaveLength(4);
  expect(refused[0]).toMatchObject({ code: "BUSY" });
});

test("a file that is not its own is not touched", async () => {
  await writeFile(path, "half a line of another", { mode: 0o644 });
  await using log = aLog({ accepts: (head) => head.startsWith("{") });
  await expect(log.append("a\n")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(await text()).toBe("half a line of another");
  expect((await stat(path)).mode & 0o777).toBe(0o644);
});

test("a device or a folder is not a file to write to", async () => {
  await symlink("/dev/null", path);
  await using log = aLog();
  await expect(log.append("a\n")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  await unlink(path);
  await symlink(folder, path);
  await expect(log.append("a\n")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
});
