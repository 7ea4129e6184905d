import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseJoinToken } from "@rk8s/agent";
import { decodePemCertificates } from "@rk8s/x509";
import { ControlPlane } from "./control-plane.js";
import { FleetLoad } from "./fleet-load.js";
import { recruit } from "./recruits.js";
import { ReadinessLog } from "./readiness-log.js";
import { type Figure, percentile } from "./report.js";

const GOOD = 100;
const JOINS = 500;
const FLOOD = { initialsPerSecond: 5_000, badProofsPerSecond: 30 };
/** How long the flood lasts at least, so that there are heartbeats to look at. */
const FLOOD_MS = 30_000;
/** After it, until memory is looked at again: more than a stranger's connection may live. */
const CALM_MS = 45_000;
const CONCURRENCY = 16;

/**
 * Five hundred nodes join from one address, while a hundred that are there send a heartbeat a second: undisturbed, and
 * while packets without a valid Retry token and handshakes with bad proofs come in from the same address.
 */
export async function abuse(): Promise<Figure[]> {
  return [...(await run("undisturbed", false)), ...(await run("under attack", true))];
}

async function run(subject: string, isAttacked: boolean): Promise<Figure[]> {
  const log = new ReadinessLog();
  await using rks = await ControlPlane.start({
    config: "heartbeat: { interval: 1s, grace: 10s }",
    onLog: (line) => log.read(line),
  });
  const init = {
    rksAddress: rks.address,
    rootCertificates: decodePemCertificates(await readFile(rks.rootCertPath)),
    concurrency: CONCURRENCY,
  };
  await using good = await FleetLoad.start(1, init);
  await good.join(await recruit(rks, "good", GOOD));
  await using joining = await FleetLoad.start(1, init);
  const members = await recruit(rks, "new", JOINS);
  await good.report();
  const residentBefore = rks.residentMib;
  const cpuBefore = rks.cpuMs;
  const begun = Date.now();
  await using attacker = await FleetLoad.start(1, init);
  const tokenId = parseJoinToken(members[0]!.joinToken).id;
  if (isAttacked) await attacker.flood({ ...init, ...FLOOD, tokenId });
  await joining.join(members);
  const joinSeconds = (Date.now() - begun) / 1000;
  await sleep(Math.max(0, begun + FLOOD_MS - Date.now()));
  const { heartbeatsMs, registered } = await good.report();
  const cores = (rks.cpuMs - cpuBefore) / (Date.now() - begun);
  await attacker[Symbol.asyncDispose]();
  await sleep(CALM_MS);
  const figure = (measure: string, value: number, unit: string): Figure => ({
    ...{ benchmark: "abuse", subject, measure, value, unit },
  });
  return [
    figure(`${JOINS} joins with registration`, joinSeconds, "s"),
    figure("good heartbeat p50", percentile([...heartbeatsMs], 0.5), "ms"),
    figure("good heartbeat p99", percentile([...heartbeatsMs], 0.99), "ms"),
    figure("good nodes registered at the end", registered, ""),
    figure("false NotReady", log.notReady.size, ""),
    figure("cores of rks, average", cores, ""),
    figure("RSS of rks before", residentBefore, "MiB"),
    figure(`RSS of rks ${CALM_MS / 1000} s after, with ${JOINS} nodes more`, rks.residentMib, "MiB"),
  ];
}
