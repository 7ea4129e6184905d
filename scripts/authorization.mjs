/**
 * `node scripts/authorization.mjs [--check]`: write the tables of docs/authorization.md from the built code, or fail when the
 * page has others. `npm run check` does the latter.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format } from "prettier";
import { ROOT } from "./setup.mjs";

const PAGE = join(ROOT, "docs", "authorization.md");
const built = (path) => import(join(ROOT, "packages", "control-plane", "dist", path));

const KINDS = ["nobody", "bootstrapping", "node", "registered node", "operator"];

/** `rk8s/pods/:namespace?` as people read it. */
const shown = (pattern) => pattern.replaceAll(/:(\w+)(\??)/g, (_, name, optional) => `<${name}>${optional}`);
const code = (text) => `\`${text}\``;

const tables = {
  messages: await messages(),
  "cluster-paths": await clusterPaths(),
  "vault-paths": await vaultPaths(),
};
const before = readFileSync(PAGE, "utf8");
const after = await format(withTables(before), { parser: "markdown", printWidth: 110 });
if (after !== before && process.argv.includes("--check")) {
  process.stderr.write("docs/authorization.md is stale: run `node scripts/authorization.mjs`\n");
  process.exit(1);
}
if (after !== before) writeFileSync(PAGE, after);

function withTables(page) {
  return Object.entries(tables).reduce((text, [name, content]) => {
    const [begin, end] = [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`docs/authorization.md has no place for "${name}"`);
    return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
  }, page);
}

function table(headings, rows) {
  return [headings, headings.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

async function messages() {
  const { DISPATCH_TABLE } = await built("server/dispatch-table.js");
  const rows = Object.entries(DISPATCH_TABLE).map(([type, { who, asks }]) => [
    type,
    ...KINDS.map((kind) => (who.includes(kind) ? "yes" : "")),
    asks === undefined ? "" : code(`${asks.operation} ${shown(asks.pattern)}`),
  ]);
  const [sent, never] = [
    rows.filter((row) => row.includes("yes")),
    rows.filter((row) => !row.includes("yes")),
  ];
  const others = never.map(([type]) => code(type)).join(", ");
  return `${table(["message", ...KINDS, "policies are asked"], sent)}\n\nNobody may send \`rks\`: ${others}.`;
}

async function clusterPaths() {
  const { clusterRoutes } = await built("http/cluster-routes.js");
  // Nothing of it is asked for before a request.
  const rows = clusterRoutes({}).map(({ method, pattern, asks }) => [
    code(`${method} ${shown(pattern)}`),
    asks === "each message" ? "as the message" : code(`${asks} ${shown(pattern).slice("/v1/".length)}`),
  ]);
  return table(["path", "policies are asked"], rows);
}

async function vaultPaths() {
  const { memoryStorage } = await built("index.js");
  const { openClusterVault, initializeClusterVault } = await built("lifecycle/cluster-vault.js");
  const { silentLogger, Secret } = await import(join(ROOT, "packages", "protocol", "dist", "index.js"));
  const { systemClock } = await import(join(ROOT, "packages", "host", "dist", "index.js"));
  const ports = { clock: systemClock, logger: silentLogger };
  const vault = await openClusterVault({ storage: memoryStorage(), type: () => "local" }, ports);
  try {
    const init = { trustDomain: "rk8s.local", rootTtlSeconds: 3600, handOutSecrets: true };
    const seal = { shares: 1, threshold: 1 };
    const { secrets } = await initializeClusterVault(vault, { ...init, seal });
    const token = new Secret(secrets.rootToken.reveal());
    const mounts = [
      { path: "mounts/pki", type: "pki" },
      { path: "mounts/kv1", type: "kv", options: { version: "1" } },
      { path: "mounts/kv2", type: "kv", options: { version: "2" } },
      ...["approle", "cert", "join-token", "kubernetes"].map((type) => ({ path: `auth/${type}`, type })),
    ];
    for (const { path, ...mount } of mounts) await vault.write(token, `sys/${path}`, mount);
    const byPath = new Map();
    for (const { path, verb, access } of vault.paths) {
      const verbs = byPath.get(path) ?? { anyone: [], optional: [], token: [], sudo: [] };
      verbs[access].push(verb);
      byPath.set(path, verbs);
    }
    const rows = [...byPath].map(([path, { anyone, optional, token: allowed, sudo }]) => [
      code(shown(path).replaceAll(/\*(\w+)/g, "<$1…>")),
      [...anyone, ...optional.map((verb) => `${verb}, as the token's holder if one is given`)].join(", "),
      allowed.join(", "),
      sudo.join(", "),
    ]);
    return table(
      ["path", "anyone", "a token whose policies allow it", "and that grant `sudo`"],
      rows.toSorted(([a], [b]) => (a < b ? -1 : 1)),
    );
  } finally {
    await vault[Symbol.asyncDispose]();
  }
}
