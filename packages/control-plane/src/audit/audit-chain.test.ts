import {
  appendFile,
  mkdtemp,
  open,
  readFile,
  rename,
  rm,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type Logger, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ChainHead } from "./chain-link.js";
import { type FileAudit, openFileAudit } from "./file-audit.js";
import { MemoryHeads } from "./testing/memory-heads.js";
import { type Verification, verifyFiles } from "./verify-files.js";

let folder: string;
let path: string;
let heads: MemoryHeads;
let errors: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "chain "));
  path = join(folder, "audit.log");
  heads = new MemoryHeads();
  errors = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

function openLog(): Promise<FileAudit> {
  const logger: Logger = { ...silentLogger, error: (message) => void errors.push(message) };
  return openFileAudit(path, { clock: new FakeClock(), logger, heads });
}

/** Write some records and close; the head that was remembered at the end. */
async function wrote(count: number, from = 1): Promise<ChainHead> {
  await using log = await openLog();
  for (let at = from; at < from + count; at += 1) {
    await log.intent({ operation: "join", actor: "test", fields: { at } });
  }
  return log.head;
}

async function text(file = path): Promise<string> {
  return readFile(file, "utf8");
}

async function lines(): Promise<string[]> {
  return (await text()).split("\n").slice(0, -1);
}

async function put(changed: readonly string[]): Promise<void> {
  await writeFile(path, changed.map((line) => `${line}\n`).join(""));
}

function verify(head?: ChainHead, files: readonly string[] = [path]): Promise<Verification> {
  return verifyFiles(files, head);
}

/** Where it is broken first, and how. */
async function firstBreak(head?: ChainHead): Promise<string | undefined> {
  const [problem] = (await verify(head)).problems;
  return problem === undefined ? undefined : `${problem.line} ${problem.kind}`;
}

test("what was written is unbroken and ends where the writer says, over restarts", async () => {
  await wrote(3);
  const head = await wrote(4, 4);
  expect(head.sequence).toBe(7);
  expect(heads.head).toEqual(head);
  expect(await verify(head)).toMatchObject({
    isGood: true,
    isConfirmed: true,
    unchained: 0,
    head,
    files: [{ file: path, lines: 7, first: 1, last: 7, unfinishedBytes: 0 }],
  });
});

describe("a log of ten records", () => {
  let head: ChainHead;
  let written: string[];
  beforeEach(async () => {
    head = await wrote(10);
    written = await lines();
  });

  const TAMPERED: readonly { name: string; change: (lines: string[]) => string[]; found: string }[] = [
    {
      name: "a changed text",
      change: (all) => edit(all, 5, (line) => line.replace("test", "tset")),
      found: "5 changed",
    },
    {
      name: "a changed number",
      change: (all) => edit(all, 5, (line) => line.replace('"seq":5', '"seq":6')),
      found: "5 changed",
    },
    {
      name: "a changed hash",
      change: (all) => edit(all, 5, (line) => line.replace(/.("}})$/, "x$1")),
      found: "5 inserted",
    },
    {
      name: "another hash",
      change: (all) => edit(all, 5, (line) => line.replace(/[0-9a-f]{8}("}})$/, "00000000$1")),
      found: "5 changed",
    },
    {
      name: "a NUL in a line",
      change: (all) => edit(all, 5, (line) => line.replace("test", "t\0st")),
      found: "5 changed",
    },
    {
      name: "a space at a line's end",
      change: (all) => edit(all, 5, (line) => `${line} `),
      found: "5 inserted",
    },
    { name: "a removed line", change: (all) => all.toSpliced(4, 1), found: "5 missing" },
    { name: "three removed lines", change: (all) => all.toSpliced(4, 3), found: "5 missing" },
    {
      name: "an inserted line",
      change: (all) => all.toSpliced(4, 0, '{"type":"result"}'),
      found: "5 inserted",
    },
    { name: "a line twice", change: (all) => all.toSpliced(4, 0, all[3]!), found: "5 out-of-order" },
    { name: "an empty line", change: (all) => all.toSpliced(4, 0, ""), found: "5 inserted" },
    {
      name: "two lines the other way round",
      change: (all) => all.toSpliced(4, 2, all[5]!, all[4]!),
      found: "5 missing",
    },
    {
      name: "the first line changed",
      change: (all) => edit(all, 1, (line) => line.replace("test", "tset")),
      found: "1 changed",
    },
  ];
  test.each(TAMPERED)("$name is found, and where", async ({ change, found }) => {
    await put(change([...written]));
    expect(await firstBreak()).toBe(found);
    expect(await firstBreak(head)).toBe(found);
  });

  test("a change of the last line, and its removal, are found with the writer's word", async () => {
    await put(edit([...written], 10, (line) => line.replace("test", "tset")));
    expect([await firstBreak(), await firstBreak(head)]).toEqual([undefined, "10 changed"]);
    await put(written.slice(0, 8));
    expect([await firstBreak(), await firstBreak(head)]).toEqual([undefined, "9 missing"]);
    await put([]);
    expect(await firstBreak(head)).toBe("1 missing");
  });

  test("a tail that was written anew, with a chain of its own, is not the writer's", async () => {
    const forger = new MemoryHeads();
    await put(written.slice(0, 5));
    await using log = await openFileAudit(path, {
      clock: new FakeClock(),
      logger: silentLogger,
      heads: forger,
    });
    for (let i = 0; i < 5; i += 1) await log.intent({ operation: "other", actor: "nobody" });
    expect([await firstBreak(), await firstBreak(head)]).toEqual([undefined, "10 changed"]);
  });

  test("one flipped bit anywhere is found", async () => {
    const bytes = await readFile(path);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (offset, bit) => {
        const flipped = Buffer.from(bytes);
        flipped[offset]! ^= 1 << bit;
        await writeFile(path, flipped);
        const { isGood, problems, files } = await verify(head);
        const line = bytes.subarray(0, offset).toString().split("\n").length;
        const isEnd = offset === bytes.length - 1;
        expect(isGood).toBe(false);
        expect(problems[0]!.line).toBeGreaterThanOrEqual(isEnd ? 10 : line - 1);
        expect(problems[0]!.line).toBeLessThanOrEqual(line + 1);
        expect(files[0]!.unfinishedBytes > 0).toBe(isEnd);
      }),
      { numRuns: 200 },
    );
  });

  test("a restart tells of what is missing, goes on, and the gap stays to be seen", async () => {
    await put(written.slice(0, 8));
    const after = await wrote(1);
    expect(errors).toEqual(["Audit log is not what was written to it"]);
    const all = await lines();
    expect(JSON.parse(all[8]!)).toMatchObject({
      operation: "audit.broken",
      fields: { remembered: 10, found: 8 },
      chain: { seq: 11, prev: head.sha256 },
    });
    expect(await verify(after)).toMatchObject({
      isConfirmed: true,
      problems: [{ line: 9, kind: "missing" }],
    });
  });

  test("a restart does not go on from records that another appended", async () => {
    await appendFile(path, `{"type":"result","chain":{"seq":11,"prev":"${"0".repeat(64)}"}}\n`);
    const after = await wrote(1);
    expect(errors).toHaveLength(1);
    expect(await firstBreak(after)).toBe("11 changed");
  });

  test("records that a killed process had not remembered belong to the chain", async () => {
    heads.isBroken = true;
    await wrote(5, 11);
    heads.isBroken = false;
    expect(heads.head).toEqual(head);
    const after = await wrote(1);
    expect([errors, await verify(after)]).toMatchObject([[], { isGood: true, isConfirmed: true }]);
  });

  test("what another appends to the open file is found", async () => {
    await using log = await openLog();
    await appendFile(path, `${written[9]!}\n`);
    await log.intent({ operation: "join", actor: "test" });
    expect(await firstBreak(log.head)).toBe("11 out-of-order");
  });
});

function edit(all: string[], line: number, change: (line: string) => string): string[] {
  return all.with(line - 1, change(all[line - 1]!));
}

test("files that were moved away, also while nobody wrote, are one chain in any order and compressed", async () => {
  {
    await using log = await openLog();
    await log.intent({ operation: "a", actor: "test" });
    await rename(path, `${path}.2`);
    await log.intent({ operation: "b", actor: "test" });
  }
  await writeFile(`${path}.2.gz`, gzipSync(await readFile(`${path}.2`)));
  await rename(path, `${path}.1`);
  const head = await wrote(2);
  const files = [path, `${path}.1`, `${path}.2.gz`];
  expect(await verify(head, files)).toMatchObject({
    isGood: true,
    isConfirmed: true,
    files: [{ first: 1 }, { first: 2 }, { first: 3, last: 4 }],
  });
  expect((await verify(head, [path, `${path}.2.gz`])).problems).toMatchObject([
    { file: path, line: 1, kind: "missing", message: "record 2 is missing before this line" },
  ]);
  expect(errors).toEqual([]);
});

test("a file that was emptied or deleted under the writer is found by the number of the next record", async () => {
  await using log = await openLog();
  await log.intent({ operation: "a", actor: "test" });
  await truncate(path);
  await log.intent({ operation: "b", actor: "test" });
  expect(await verify(log.head)).toMatchObject({ isConfirmed: true, files: [{ first: 2 }] });
  await unlink(path);
  await log.intent({ operation: "c", actor: "test" });
  expect(await verify(log.head)).toMatchObject({ isConfirmed: true, files: [{ first: 3 }] });
});

test("an older log without a chain is counted, and its last line is held by the first record", async () => {
  await writeFile(path, '{"type":"intent"}\n\0\xff\n{"type":"result"}\n', "latin1");
  const head = await wrote(2);
  expect(await verify(head)).toMatchObject({ isGood: true, unchained: 3, files: [{ first: 1, last: 2 }] });
  const all = await readFile(path, "latin1");
  await writeFile(path, all.replace('"type":"result"', '"type":"changed"'), "latin1");
  expect(await firstBreak(head)).toBe("3 changed");
});

test("half a line is cut off, recorded, and no break", async () => {
  await wrote(2);
  await appendFile(path, '{"time":"2026');
  expect(await verify(heads.head)).toMatchObject({ isGood: true, files: [{ unfinishedBytes: 13 }] });
  const head = await wrote(1);
  expect(await verify(head)).toMatchObject({ isGood: true, isConfirmed: true, head: { sequence: 4 } });
  expect(JSON.parse((await lines())[2]!)).toMatchObject({
    operation: "audit.cut-off",
    fields: { bytes: 13 },
  });
});

test("a write that failed leaves no hole, also when what it left can be cut off only later", async () => {
  const any = await open(folder, "r");
  const handles = Object.getPrototypeOf(any) as typeof any;
  await any.close();
  await using log = await openLog();
  await log.intent({ operation: "a", actor: "test" });
  vi.spyOn(handles, "write").mockImplementationOnce(async function (this: typeof any, bytes: unknown) {
    await this.writev([bytes as Uint8Array]);
    throw new Error("no space");
  });
  vi.spyOn(handles, "truncate").mockRejectedValueOnce(new Error("no more"));
  await expect(log.intent({ operation: "b", actor: "test" })).rejects.toMatchObject({
    code: "AUDIT_UNWRITABLE",
  });
  expect(await lines()).toHaveLength(2);
  await log.intent({ operation: "c", actor: "test" });
  expect(await verify(log.head)).toMatchObject({ isGood: true, isConfirmed: true });
  expect((await lines()).map((line) => (JSON.parse(line) as { operation: string }).operation)).toEqual([
    "a",
    "audit.cut-off",
    "c",
  ]);
});

test("many callers at once are one chain, and the store remembers far fewer heads", async () => {
  await using log = await openLog();
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(Array.from({ length: 200 }, () => log.intent({ operation: "a", actor: "test" })));
  }
  expect(await verify(log.head)).toMatchObject({ isGood: true, head: { sequence: 2000 } });
  expect(heads.saves).toBeLessThanOrEqual(20);
});

test("a log may be verified while it is written", async () => {
  await using log = await openLog();
  await log.intent({ operation: "a", actor: "test" });
  const done = new AbortController();
  const writing = (async () => {
    while (!done.signal.aborted) await log.intent({ operation: "a", actor: "test" });
  })();
  for (let round = 0; round < 10; round += 1) {
    expect(await verify(log.head)).toMatchObject({ isGood: true, isConfirmed: true });
  }
  done.abort();
  await writing;
});

test("a line of any length is hashed in pieces", async () => {
  await writeFile(path, `${"x".repeat(3_000_000)}\n`);
  const head = await wrote(1);
  expect(await verify(head)).toMatchObject({ isGood: true, isConfirmed: true, unchained: 1 });
});

test("a file that is not there is NOT_FOUND", async () => {
  await expect(verify()).rejects.toMatchObject({ code: "NOT_FOUND" });
});
