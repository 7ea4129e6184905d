import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { assertNotPutBack } from "./audit-stamp.js";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "audit-"));
  path = join(folder, "audit.log");
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const line = (stamp: object): string => `${JSON.stringify({ type: "result", ...stamp })}\n`;

test.each<{ name: string; log: string }>([
  { name: "an empty log", log: "" },
  { name: "one of the same state", log: line({ vault: "a", sequence: 7 }) },
  { name: "one of an older state", log: line({ vault: "a", sequence: 3 }) },
  { name: "one of another vault", log: line({ vault: "b", sequence: 900 }) },
  { name: "one without stamps", log: line({}) + line({ sequence: 900 }) },
  { name: "one with half a line", log: `${line({ vault: "a", sequence: 7 })}{"vault":"a","sequence":90` },
  { name: "rubbish", log: "\u0000\n[]\nnull\n\n" },
])("$name lets the vault be served", async ({ log }) => {
  await writeFile(path, log);
  await expect(assertNotPutBack(path, { vault: "a", sequence: 7 })).resolves.toBeUndefined();
});

test("a log that is missing proves nothing", async () => {
  await expect(assertNotPutBack(path, { vault: "a", sequence: 0 })).resolves.toBeUndefined();
});

test("a store that is older than the log is refused, with both numbers and what to do", async () => {
  await writeFile(path, line({ vault: "a", sequence: 8 }).repeat(5000) + line({ vault: "b", sequence: 1 }));
  await expect(assertNotPutBack(path, { vault: "a", sequence: 7 })).rejects.toMatchObject({
    code: "STORAGE_CORRUPT",
    message: expect.stringMatching(/transaction 7, .* has seen 8$/) as string,
    suggestion: expect.stringContaining("Restore the newest copy") as string,
  });
});

test("a log that cannot be read is an error of its own", async () => {
  await expect(assertNotPutBack(folder, { vault: "a", sequence: 7 })).rejects.toMatchObject({
    code: "AUDIT_UNWRITABLE",
  });
});
