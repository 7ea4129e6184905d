import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SOURCE = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const IMPORT = /^(?:import|export) (?!type\b)[^;]*?from "([^"]+)";|^import "([^"]+)";/gms;

/** Everything that a module loads before a command runs: modules as paths below src, packages by name. */
function loadedBy(module: string): {
  readonly modules: readonly string[];
  readonly packages: readonly string[];
} {
  const modules = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string): void => {
    const name = relative(SOURCE, file);
    if (modules.has(name)) return;
    modules.add(name);
    for (const [, from, bare] of readFileSync(file, "utf8").matchAll(IMPORT)) {
      const target = from ?? bare ?? "";
      if (target.startsWith(".")) visit(resolve(dirname(file), target.replace(/\.js$/, ".ts")));
      else if (!target.startsWith("node:")) packages.add(target);
    }
  };
  visit(join(SOURCE, module));
  return { modules: [...modules], packages: [...packages].toSorted() };
}

const VERBS = readdirSync(join(SOURCE, "cli", "vault")).filter((file) =>
  /(command|commands|create)\.ts$/.test(file),
);

test("help and wrong usage load the parser and nothing else", () => {
  const { modules, packages } = loadedBy("cli/main.ts");
  expect(packages).toEqual(["@rk8s/host/cli-io", "yargs"]);
  expect(modules.filter((module) => !module.startsWith("cli/"))).toEqual(["version.ts"]);
});

test.each(VERBS)("a verb of the vault loads a client and no server: %s", (file) => {
  const { modules, packages } = loadedBy(join("cli", "vault", file));
  const allowed = ["@rk8s/host", "@rk8s/host/cli-io", "@rk8s/protocol"];
  expect(packages.filter((name) => !allowed.includes(name))).toEqual([]);
  expect(modules.filter((module) => !/^(cli|http)\//.test(module))).toEqual([]);
});
