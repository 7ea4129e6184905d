import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { ROOT } from "./harness/process.js";
import { ScriptedVault } from "./harness/vault-scripts.js";

const openApi = z.object({ paths: z.record(z.string(), z.unknown()) });
/** A mount of each type, at the place that the document calls it by. */
const MOUNTS = [
  { at: "sys/mounts/pki", type: "pki", options: {} },
  { at: "sys/mounts/kv1", type: "kv", options: { version: "1" } },
  { at: "sys/mounts/kv2", type: "kv", options: { version: "2" } },
  ...["approle", "cert", "join-token", "kubernetes"].map((type) => ({
    at: `sys/auth/${type}`,
    type,
    options: {},
  })),
];

/** A row of the table: paths as a reader sees them, files. */
interface Row {
  readonly paths: readonly string[];
  readonly files: readonly string[];
}

let vault: ScriptedVault;
let rows: readonly Row[];
beforeAll(async () => {
  vault = await ScriptedVault.start();
  for (const { at, ...mount } of MOUNTS) await vault.api.write(at, mount);
  const text = await readFile(join(ROOT, "docs", "vault-api.md"), "utf8");
  const [, table = ""] = /## What is served\n(.*?)\n## /s.exec(text) ?? [];
  rows = table.split("\n").flatMap((line) => {
    const [, paths = "", files = ""] = line.split("|");
    const named = quoted(files);
    return named.length === 0 || line.startsWith("| ---") ? [] : [{ paths: withMount(paths), files: named }];
  });
});
afterAll(async () => {
  await vault?.[Symbol.asyncDispose]();
});

function quoted(cell: string): readonly string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, text = ""]) => text);
}

/** `pki: …` and `kv 2: …` stand before what is relative to such a mount. */
function withMount(cell: string): readonly string[] {
  const [, kind] = /^ *(pki|kv 1|kv 2):/.exec(cell) ?? [];
  const prefix = kind === undefined ? "" : `${kind.replace(" ", "")}/`;
  return kind === "kv 1" ? [`${prefix}…`] : quoted(cell).map((path) => prefix + path);
}

/** Whether a path of the OpenAPI description is one of a row's: `…` is anything, `X` one segment. */
function fits(shown: string, path: string): boolean {
  const pattern = shown
    .split("…")
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll("/X", "/[^/]+"))
    .join(".*");
  return new RegExp(`^${pattern}$`).test(path);
}

test("the table of the API's paths names a file that is there for each path that is served", async () => {
  const reply = await vault.api.ask({ method: "GET", path: "sys/internal/specs/openapi" });
  const served = Object.keys(openApi.parse(reply.json).paths).map((path) => path.slice(1));
  expect(served.length).toBeGreaterThan(200);
  const unnamed = served.filter(
    (path) => !rows.some(({ paths }) => paths.some((shown) => fits(shown, path))),
  );
  expect(unnamed).toEqual([]);
  const source = join(ROOT, "packages", "control-plane", "src");
  expect(rows.flatMap(({ files }) => files).filter((file) => !existsSync(join(source, file)))).toEqual([]);
});

test("the table names no path that is not served", async () => {
  const reply = await vault.api.ask({ method: "GET", path: "sys/internal/specs/openapi" });
  const served = Object.keys(openApi.parse(reply.json).paths).map((path) => path.slice(1));
  const beside = /^\/(metrics|healthz|livez|readyz|v1\/)$/;
  const unserved = rows
    .flatMap(({ paths }) => paths)
    .filter((shown) => !beside.test(shown) && !shown.startsWith("issuer/X/…"))
    .filter((shown) => !served.some((path) => fits(shown, path)));
  expect(unserved).toEqual([]);
});
