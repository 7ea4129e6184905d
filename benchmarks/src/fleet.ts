import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { decodePemCertificates } from "@rk8s/x509";
import { ControlPlane } from "./control-plane.js";
import { FleetLoad } from "./fleet-load.js";
import { recruit } from "./recruits.js";
import { ReadinessLog } from "./readiness-log.js";
import { type Figure, percentile } from "./report.js";

export interface FleetOptions {
  /** Default 1,000. */
  readonly agents: number | undefined;
  /** How long heartbeats are watched; default 1. */
  readonly minutes: number | undefined;
}

const SUBJECT = "rks";
/** A process of the load has a core to itself at best; more agents in one make its own pauses count as rks's. */
const AGENTS_PER_PROCESS = 2_500;
/** Those that die, in a process of their own. */
const VICTIMS = 100;
const CONCURRENCY = 8;
/** Dials under way in a process of the load: hosts have a processor each for theirs. */
const DIALS = 8;
const HEARTBEAT_MS = 10_000;
const GRACE_MS = 40_000;
/** Longest wait for a step, so that a fleet that does not come back ends the benchmark. */
const PATIENCE_MS = 300_000;
const POLL_MS = 250;

/**
 * A fleet of real agents over real QUIC against one real `rks`, with a heartbeat each ten seconds: how fast they
 * join, what they cost, how long a heartbeat takes, whether one is called NotReady although it lives, how soon one
 * that died is, and how long all need to come back after `rks` was killed.
 */
export async function fleet(options: FleetOptions): Promise<Figure[]> {
  const { agents = 1_000, minutes = 1 } = options;
  const log = new ReadinessLog();
  let rks = await ControlPlane.start({
    config: `heartbeat: { interval: ${HEARTBEAT_MS / 1000}s, grace: ${GRACE_MS / 1000}s }`,
    onLog: (line) => log.read(line),
  });
  try {
    const init = {
      rksAddress: rks.address,
      rootCertificates: decodePemCertificates(await readFile(rks.rootCertPath)),
      concurrency: CONCURRENCY,
      dials: DIALS,
    };
    await using load = await FleetLoad.start(Math.ceil(agents / AGENTS_PER_PROCESS), init);
    const joined = await join(load, rks, agents);
    const steady = await watch(load, rks, { minutes, agents, log });
    const victims = await FleetLoad.start(1, init);
    const death = await kill(victims, rks, log);
    const begun = Date.now();
    rks = await rks.restart();
    const restarted = await comeBack(load, { begun, agents, rks });
    return [...joined, ...steady, ...death, ...restarted];
  } finally {
    await rks[Symbol.asyncDispose]();
  }
}

async function join(load: FleetLoad, rks: ControlPlane, agents: number): Promise<Figure[]> {
  const members = await recruit(rks, "node", agents);
  const cpuBefore = rks.cpuMs;
  const begun = Date.now();
  await load.join(members);
  const seconds = (Date.now() - begun) / 1000;
  return [
    figure("agents", agents, ""),
    figure("joins with registration", agents / seconds, "1/s"),
    figure("CPU of rks per join", (rks.cpuMs - cpuBefore) / agents, "ms"),
  ];
}

async function watch(
  load: FleetLoad,
  rks: ControlPlane,
  { minutes, agents, log }: { readonly minutes: number; readonly agents: number; readonly log: ReadinessLog },
): Promise<Figure[]> {
  // The first interval still has the joins in it.
  await sleep(HEARTBEAT_MS);
  await load.report();
  const notReadyBefore = log.notReady.size;
  const [cpuBefore, loadCpuBefore, begun] = [rks.cpuMs, await load.cpuMs(), Date.now()];
  let resident = 0;
  const heartbeats: number[] = [];
  while (Date.now() - begun < minutes * 60_000) {
    await sleep(Math.min(5_000, minutes * 60_000));
    resident = Math.max(resident, rks.residentMib);
    heartbeats.push(...(await load.report()).heartbeatsMs);
  }
  const elapsed = Date.now() - begun;
  const { counts } = await load.report();
  return [
    figure("heartbeats", heartbeats.length / (elapsed / 1000), "1/s"),
    figure("heartbeat p50", percentile(heartbeats, 0.5), "ms"),
    figure("heartbeat p99", percentile(heartbeats, 0.99), "ms"),
    figure("heartbeat, slowest", percentile(heartbeats, 1), "ms"),
    figure("cores of rks, average", (rks.cpuMs - cpuBefore) / elapsed, ""),
    figure("cores of the load, average", ((await load.cpuMs()) - loadCpuBefore) / elapsed, ""),
    figure("RSS of rks, most", resident, "MiB"),
    figure("false NotReady", log.notReady.size - notReadyBefore, ""),
    figure("connections lost", total(counts, "disconnected"), ""),
    figure("agents watched", agents, ""),
  ];
}

/** Agents that die at once: how long after the grace the last of them is NotReady. */
async function kill(victims: FleetLoad, rks: ControlPlane, log: ReadinessLog): Promise<Figure[]> {
  const members = await recruit(rks, "victim", VICTIMS);
  await victims.join(members);
  await victims[Symbol.asyncDispose]();
  const isOver = (): boolean => members.every(({ nodeName }) => log.notReady.has(nodeName));
  await until(isOver, "the dead are NotReady");
  const late = await Promise.all(
    members.map(async ({ nodeName }) => {
      const lastHeartbeat = await rks.lastHeartbeat(nodeName);
      return log.notReady.get(nodeName)! - lastHeartbeat - GRACE_MS;
    }),
  );
  return [figure("NotReady after the grace, slowest", percentile(late, 1), "ms")];
}

/** From the kill on until as many have registered again as there are. */
async function comeBack(
  load: FleetLoad,
  { begun, agents, rks }: { readonly begun: number; readonly agents: number; readonly rks: ControlPlane },
): Promise<Figure[]> {
  const readyMs = Date.now() - begun;
  const cpuBefore = rks.cpuMs;
  // A connection to the killed process is registered until the agent has noticed.
  const isBack = async (): Promise<boolean> => {
    const { counts, registered } = await load.report();
    return registered === agents && (counts["registered"] ?? 0) >= 2 * agents;
  };
  await until(isBack, "all are back");
  return [
    figure("rks ready again after kill -9", readyMs / 1000, "s"),
    figure("all registered again after kill -9", (Date.now() - begun) / 1000, "s"),
    figure("CPU of rks per return", (rks.cpuMs - cpuBefore) / agents, "ms"),
  ];
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`after ${PATIENCE_MS / 1000} s it is still not so that ${what}`);
    await sleep(POLL_MS);
  }
}

function total(counts: Readonly<Record<string, number>>, event: string): number {
  return Object.entries(counts).reduce((sum, [what, count]) => sum + (what.startsWith(event) ? count : 0), 0);
}

function figure(measure: string, value: number, unit: string): Figure {
  return { benchmark: "fleet", subject: SUBJECT, measure, value, unit };
}
