/**
 * `npm run bench [-- NAME …] [--json] [--agents N] [--minutes N]`: measure, and print tables or one JSON array of figures.
 */
import { parseArgs } from "node:util";
import { type Figure, table } from "./report.js";

interface Benchmark {
  readonly title: string;
  readonly run: () => Promise<Figure[]>;
}

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  transports: {
    title: "Transports: mutual TLS on loopback, client and server in two processes",
    run: async () => (await import("./transports.js")).transports(),
  },
  "idle-memory": {
    title: "Memory of a server per idle mutual-TLS connection, at 1,000",
    run: async () => (await import("./transports.js")).idleMemory(),
  },
  signatures: {
    title: "Certificates: a CSR in, its proof of possession checked, a leaf out, one after another",
    run: async () => (await import("./signatures.js")).signatures(),
  },
  joins: {
    title: "Joins against a real rks, and its memory with idle nodes",
    run: async () => (await import("./joins.js")).joins(),
  },
  stores: {
    title: "Joins with the state in the vault folder and in etcd",
    run: async () => (await import("./stores.js")).stores(),
  },
  "idle-store": {
    title: "What nodes that only send heartbeats make rks write to etcd",
    run: async () => (await import("./idle-store.js")).idleStore(),
  },
  migration: {
    title: "A vault of 250,000 certificates moves from its folder to etcd while it serves",
    run: async () => (await import("./migration.js")).migration(),
  },
  vault: {
    title: "The vault over HTTPS, with a file audit device",
    run: async () => (await import("./vault.js")).vault(),
  },
  "vault-certificates": {
    title: "The vault with many certificates",
    run: async () => (await import("./vault-certificates.js")).manyCertificates(),
  },
  fleet: {
    title: "A fleet of agents against one rks",
    run: async () =>
      (await import("./fleet.js")).fleet({ agents: number("agents"), minutes: number("minutes") }),
  },
  abuse: {
    title: "Joins and heartbeats, undisturbed and under attack from the same address",
    run: async () => (await import("./abuse.js")).abuse(),
  },
  renewals: {
    title: "Renewals inside registered sessions",
    run: async () => (await import("./renewals.js")).renewals(),
  },
  programs: {
    title: "Start-up and memory of the programs",
    run: async () => (await import("./programs.js")).programs(),
  },
};

const { positionals: names, values } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean" }, agents: { type: "string" }, minutes: { type: "string" } },
});
const unknown = names.find((name) => !Object.hasOwn(BENCHMARKS, name));
if (unknown === undefined) await main();
else {
  process.stderr.write(
    `bench: no benchmark "${unknown}"\nhint: choose from ${Object.keys(BENCHMARKS).join(", ")}\n`,
  );
  process.exitCode = 64;
}

function number(option: "agents" | "minutes"): number | undefined {
  const text = values[option];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (value > 0) return value;
  process.stderr.write(`bench: --${option} is "${text}", expected a number above 0\n`);
  return process.exit(64);
}

async function main(): Promise<void> {
  const all: Figure[] = [];
  for (const [name, { title, run }] of Object.entries(BENCHMARKS)) {
    if (names.length > 0 && !names.includes(name)) continue;
    process.stderr.write(`• ${name}\n`);
    const figures = await run();
    all.push(...figures);
    if (values.json !== true) process.stdout.write(table(title, figures));
  }
  if (values.json === true) process.stdout.write(`${JSON.stringify(all, undefined, 2)}\n`);
  // The classes keep handles open after their clients are gone.
  process.exit();
}
