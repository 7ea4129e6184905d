import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { EtcdCluster, hasEtcd } from "@rk8s/storage/testing/etcd";
import { decodePemCertificates } from "@rk8s/x509";
import { FleetLoad } from "./fleet-load.js";
import { recruit } from "./recruits.js";
import type { Figure } from "./report.js";
import { startOn } from "./stores.js";

const NODES = 1_000;
const CONCURRENCY = 8;
/** The last joins write for some seconds more. */
const SETTLE_MS = 30_000;
const WATCH_MS = 120_000;

/**
 * What nodes that only send heartbeats make `rks` write: proposals that a member of etcd has committed, which is every write
 * and every new lease of anybody.
 */
export async function idleStore(): Promise<Figure[]> {
  if (!hasEtcd()) {
    process.stderr.write("SKIPPED idle-store (needs etcd)\n");
    return [];
  }
  await using etcd = await EtcdCluster.start({ tls: false, members: 3 });
  await using rks = await startOn(etcd);
  await sleep(SETTLE_MS);
  const without = await writesPerSecond(etcd);
  await using load = await FleetLoad.start(1, {
    rksAddress: rks.address,
    rootCertificates: decodePemCertificates(await readFile(rks.rootCertPath)),
    concurrency: CONCURRENCY,
  });
  await load.join(await recruit(rks, "idle", NODES));
  await sleep(SETTLE_MS);
  await load.report();
  const cpuBefore = rks.cpuMs;
  const withNodes = await writesPerSecond(etcd);
  const cores = (rks.cpuMs - cpuBefore) / WATCH_MS;
  const { registered, heartbeatsMs } = await load.report();
  return [
    figure("writes without nodes", without, "1/s"),
    figure(`writes with ${registered} idle nodes`, withNodes, "1/s"),
    figure("heartbeats meanwhile", heartbeatsMs.length / (WATCH_MS / 1000), "1/s"),
    figure("cores of rks meanwhile", cores, ""),
  ];
}

async function writesPerSecond(etcd: EtcdCluster): Promise<number> {
  const before = await committed(etcd);
  await sleep(WATCH_MS);
  return ((await committed(etcd)) - before) / (WATCH_MS / 1000);
}

async function committed(etcd: EtcdCluster): Promise<number> {
  const text = await (await fetch(`${etcd.endpoints[0]!}/metrics`)).text();
  const [, value] = /^etcd_server_proposals_committed_total (\S+)$/m.exec(text) ?? [];
  if (value === undefined) throw new Error("etcd does not tell how much it has committed");
  return Number(value);
}

function figure(measure: string, value: number, unit: string): Figure {
  return { benchmark: "idle-store", subject: "rks", measure, value, unit };
}
