import { EtcdCluster, hasEtcd } from "@rk8s/storage/testing/etcd";
import { ControlPlane } from "./control-plane.js";
import { fastJoins, type Load, warmLoad } from "./joins.js";
import { MoveLog } from "./move-log.js";
import { type Figure, median } from "./report.js";

const ROUNDS = 5;
const JOINS_IN_A_ROUND = 100;
interface Rates {
  readonly perSecond: number[];
  readonly perCpuSecond: number[];
}

/**
 * Joins with the state in the vault folder, in one etcd and in three, in interleaved rounds. The servers run on the same
 * machine, without TLS: what differs is what the store takes.
 */
export async function stores(): Promise<Figure[]> {
  if (!hasEtcd()) {
    process.stderr.write("SKIPPED stores (needs etcd)\n");
    return [];
  }
  await using one = await EtcdCluster.start({ tls: false });
  await using three = await EtcdCluster.start({ tls: false, members: 3 });
  await using embedded = await ControlPlane.start();
  await using withOne = await startOn(one);
  await using withThree = await startOn(three);
  const subjects: Readonly<Record<string, Load>> = {
    embedded: await warmLoad(embedded),
    "etcd, 1 member": await warmLoad(withOne),
    "etcd, 3 members": await warmLoad(withThree),
  };
  const rates = new Map(
    Object.keys(subjects).map((name): [string, Rates] => [name, { perSecond: [], perCpuSecond: [] }]),
  );
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, load] of Object.entries(subjects)) {
      const rate = await fastJoins(load, JOINS_IN_A_ROUND, `round-${round}`);
      rates.get(name)?.perSecond.push(rate.perSecond);
      rates.get(name)?.perCpuSecond.push(rate.perCpuSecond);
    }
  }
  return [...rates].flatMap(([subject, { perSecond, perCpuSecond }]) => [
    figure(subject, "joins, 16 at a time", median(perSecond)),
    figure(subject, "joins per CPU-second of rks", median(perCpuSecond)),
  ]);
}

/** An `rks` that has moved its vault there. */
export async function startOn(cluster: EtcdCluster): Promise<ControlPlane> {
  const log = new MoveLog();
  const rks = await ControlPlane.start({
    config: `xline_config: { endpoints: [${cluster.endpoints.join(", ")}] }`,
    onLog: (line) => log.read(line),
  });
  await log.moved;
  return rks;
}

function figure(subject: string, measure: string, value: number): Figure {
  return { benchmark: "stores", subject, measure, value, unit: "1/s" };
}
