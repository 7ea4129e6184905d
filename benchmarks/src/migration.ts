import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { EtcdCluster, hasEtcd } from "@rk8s/storage/testing/etcd";
import { MoveLog } from "./move-log.js";
import { type Figure, percentile } from "./report.js";
import { ownServer, type OwnServer } from "./vault-server.js";

const ENTRIES = 250_000;
/** What a certificate takes behind the barrier. */
const ENTRY_BYTES = 550;
const ENTRIES_AT_ONCE = 100;
const CLIENTS = 4;

/**
 * A vault with as many entries as 250,000 certificates have moves from its folder to one etcd, while four clients write
 * and read secrets one after the other. The entries are random bytes: a migration does not open what it copies.
 */
export async function migration(): Promise<Figure[]> {
  if (!hasEtcd()) {
    process.stderr.write("SKIPPED migration (needs etcd)\n");
    return [];
  }
  await using cluster = await EtcdCluster.start({ tls: false });
  const log = new MoveLog();
  await using rks = await ownServer({
    config: `xline_config: { endpoints: [${cluster.endpoints.join(", ")}] }`,
    prepare: fill,
    onLog: (line) => log.read(line),
  });
  const begun = performance.now();
  const ended = new AbortController();
  const asking = ask(rks, ended.signal);
  const pausedMs = await log.moved;
  const seconds = (performance.now() - begun) / 1000;
  ended.abort();
  const latencies = await asking;
  return [
    figure(`migration of ${ENTRIES} entries`, seconds, "s"),
    figure("writes held back", pausedMs, "ms"),
    figure("requests meanwhile", latencies.length / seconds, "1/s"),
    figure("request p50 meanwhile", percentile(latencies, 0.5), "ms"),
    figure("request p99 meanwhile", percentile(latencies, 0.99), "ms"),
    figure("slowest request meanwhile", percentile(latencies, 1), "ms"),
  ];
}

async function fill(vaultFolder: string): Promise<void> {
  await using storage = await openLmdbStorage({ folder: join(vaultFolder, "store") });
  for (let at = 0; at < ENTRIES; at += ENTRIES_AT_ONCE) {
    const writes = Array.from({ length: ENTRIES_AT_ONCE }, () => ({
      type: "put" as const,
      key: `benchmark/${randomBytes(20).toString("hex")}`,
      value: randomBytes(ENTRY_BYTES),
    }));
    await storage.transaction([], writes);
  }
}

async function ask(rks: OwnServer, signal: AbortSignal): Promise<number[]> {
  const latencies: number[] = [];
  await using first = rks.connect();
  await first.ask("POST", "sys/mounts/kv", { type: "kv" });
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      await using connection = rks.connect();
      for (let isRead = false; !signal.aborted; isRead = !isRead) {
        const begun = performance.now();
        if (isRead) await connection.ask("GET", `kv/${client}`);
        else await connection.ask("PUT", `kv/${client}`, { value: "x".repeat(200) });
        latencies.push(performance.now() - begun);
      }
    }),
  );
  return latencies;
}

function figure(measure: string, value: number, unit: string): Figure {
  return { benchmark: "migration", subject: "rks", measure, value, unit };
}
