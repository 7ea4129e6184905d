import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openNodeFile } from "./node-file.js";
import type { RememberedNode } from "./node-memory.js";

const NODE: RememberedNode = {
  nodeName: "worker-1",
  rksAddress: "127.0.0.1:50051",
  rootPins: ["ab".repeat(32)],
  sequence: 3,
  grantsLeft: 1,
};

async function aFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "rk8s-node-"));
  return { path, [Symbol.asyncDispose]: async () => rm(path, { recursive: true, force: true }) };
}

test("what was saved is loaded, and only its owner reads it", async () => {
  await using folder = await aFolder();
  const path = join(folder.path, "node.json");
  const memory = openNodeFile(path);
  expect(await memory.load()).toBeUndefined();
  await memory.save({ ...NODE, sequence: 2 });
  const node = { ...NODE, refusedIssuers: ["cd".repeat(32)] };
  await memory.save(node);
  expect(await memory.load()).toEqual(node);
  await memory.save(NODE);
  expect(await memory.load()).toEqual(NODE);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder.path)).toEqual(["node.json"]);
});

test.each([
  { name: "nothing", content: "" },
  { name: "half of it", content: JSON.stringify({ version: 1, ...NODE }).slice(0, 60) },
  { name: "another version", content: JSON.stringify({ version: 2, ...NODE }) },
  { name: "an unknown field", content: JSON.stringify({ version: 1, ...NODE, key: "x" }) },
  { name: "no pin", content: JSON.stringify({ version: 1, ...NODE, rootPins: [] }) },
  { name: "a negative number", content: JSON.stringify({ version: 1, ...NODE, sequence: -1 }) },
  { name: "too much", content: " ".repeat(70_000) },
])("a file with $name is refused and left as it is", async ({ content }) => {
  await using folder = await aFolder();
  const path = join(folder.path, "node.json");
  await writeFile(path, content);
  await expect(openNodeFile(path).load()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  expect(await readFile(path, "utf8")).toBe(content);
});

test("a draft that a crash left behind is in nobody's way", async () => {
  await using folder = await aFolder();
  const path = join(folder.path, "node.json");
  await openNodeFile(path).save(NODE);
  await writeFile(`${path}.new`, '{"version":1,"nodeN');
  expect(await openNodeFile(path).load()).toEqual(NODE);
  await openNodeFile(path).save({ ...NODE, sequence: 4 });
  expect(await openNodeFile(path).load()).toEqual({ ...NODE, sequence: 4 });
});

test("a file that cannot be written leaves what was there before", async () => {
  await using folder = await aFolder();
  const path = join(folder.path, "node.json");
  await openNodeFile(path).save(NODE);
  await mkdir(`${path}.new`);
  await chmod(folder.path, 0o700);
  await expect(openNodeFile(path).save({ ...NODE, sequence: 4 })).rejects.toMatchObject({
    code: "STORAGE_UNWRITABLE",
  });
  expect(await openNodeFile(path).load()).toEqual(NODE);
});
