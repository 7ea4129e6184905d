import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { assertSocketPath, listenOnUnixSocket, socketAnswers } from "./unix-socket.js";

const options = { setting: "--data-dir" };

let folder: string;
let server: Server;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "host-"));
  server = createServer();
});
afterEach(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

test("a server answers at the path, for its own user only, and nothing else is left in the folder", async () => {
  const path = join(folder, "a.sock");
  await listenOnUnixSocket(server, path, options);
  expect(await socketAnswers(path)).toBe(true);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder)).toEqual(["a.sock"]);
});

test("what a killed process left at the path is replaced", async () => {
  const path = join(folder, "a.sock");
  await writeFile(path, "");
  expect(await socketAnswers(path)).toBe(false);
  await listenOnUnixSocket(server, path, options);
  expect(await socketAnswers(path)).toBe(true);
});

test.each([
  { name: "a long name", bytesOfName: 107 },
  { name: "a short name, whose socket has a longer one at first", bytesOfName: 1 },
])("the longest path that is allowed works, one byte more does not: $name", async ({ bytesOfName }) => {
  const nameBytes = Math.min(bytesOfName, 107 - folder.length - 1);
  const first = "/.sXXXXXX/s".length;
  const folderBytes = 107 - Math.max(first, nameBytes + 1);
  const deep = folder + "/".repeat(folderBytes - folder.length);
  const name = "n".repeat(nameBytes);
  await expect(listenOnUnixSocket(server, `${deep}//${name}`, options)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    suggestion: "Give --data-dir a folder with a shorter path.",
  });
  await listenOnUnixSocket(server, `${deep}/${name}`, options);
  expect(await socketAnswers(join(folder, name))).toBe(true);
});

test("a folder that is missing is told with the remedy", async () => {
  const path = join(folder, "missing", "a.sock");
  await expect(listenOnUnixSocket(server, path, options)).rejects.toMatchObject({
    code: "STORAGE_UNWRITABLE",
    suggestion: "Give --data-dir a folder on a local disk that this user may write to.",
  });
});

test("a path that is too long to be a socket's is refused, and nobody answers there", async () => {
  const path = `/${"x".repeat(107)}`;
  expect(() => assertSocketPath(path)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
  expect(await socketAnswers(path)).toBe(false);
});
