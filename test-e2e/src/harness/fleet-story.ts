import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { decodePemCertificates } from "@rk8s/x509";
import { FleetAgents, type FleetMember } from "../../../benchmarks/src/fleet-agents.js";
import { newToken } from "./ask-rks.js";
import type { Cluster } from "./cluster.js";

/** How often a fleet is looked at. */
const LOOK_MS = 250;
/** From so many tries an agent on, pauses are as long as they get, */
const SETTLED_TRIES = 3;
/** which is this long. */
const LONGEST_PAUSE_MS = 3000;

/** A control plane was away: what became of its fleet. */
export interface Absence {
  readonly awayMs: number;
  /** From the moment when rks was ready again until the last agent had registered, in milliseconds. */
  readonly backMs: number;
  /** Registrations since rks was gone: one an agent, and more where a busy machine let one time out. */
  readonly registrations: number;
  /** Most tries that agents meant to make within a quarter of a second once pauses were long, as a share of the fleet. */
  readonly busiest: number;
  /** Tries of one agent in a second then. */
  readonly triesPerSecond: number;
  /** What agents heard besides that nobody answers, with how often. */
  readonly refusals: Readonly<Record<string, number>>;
}

/** Real agents in this process, joined with tokens of their own kind of names: `prefix-0` and so on. */
export async function aFleet(
  cluster: Cluster,
  { prefix, count, rksAddress = cluster.address }: { prefix: string; count: number; rksAddress?: string },
): Promise<FleetAgents> {
  const rootCertificates = decodePemCertificates(await readFile(cluster.rootCertPath));
  const agents = new FleetAgents({ rksAddress, rootCertificates, concurrency: 8 });
  const { token } = await newToken(cluster, { uses: count });
  const members = Array.from({ length: count }, (_, i): FleetMember => ({
    nodeName: `${prefix}-${i}`,
    joinToken: token,
  }));
  await agents.join(members);
  return agents;
}

/** `kill -9` rks, leave it away until each agent has tried so often to reach it, start it again, and wait until all have registered. */
export async function absence(cluster: Cluster, agents: FleetAgents, tries: number): Promise<Absence> {
  const before = agents.report();
  const fleet = before.registered;
  const since = (event: string): number => sum(agents.report().counts, event) - sum(before.counts, event);
  cluster.controlPlane.kill("SIGKILL");
  await cluster.controlPlane.exited;
  const goneMs = performance.now();

  let settled: { readonly atMs: number; readonly tries: number } | undefined;
  // Meant, not made: hundreds of agents in one process, which is busy with their dials, are late all at once.
  const due: number[] = [];
  agents.onPause = (delayMs) => due.push(performance.now() + delayMs);
  let last = 0;
  while (last < tries * fleet) {
    await sleep(LOOK_MS);
    last = since("reconnecting");
    if (settled === undefined && last >= SETTLED_TRIES * fleet)
      settled = { atMs: performance.now(), tries: last };
  }
  const leftMs = performance.now();
  agents.onPause = undefined;
  const busiest = settled === undefined ? 0 : most(due.filter((ms) => ms > settled.atMs + LONGEST_PAUSE_MS));

  await cluster.startControlPlane();
  const readyMs = performance.now();
  while (since("registered") < fleet || agents.report().registered < fleet) await sleep(LOOK_MS / 5);
  return {
    awayMs: readyMs - goneMs,
    backMs: performance.now() - readyMs,
    registrations: since("registered"),
    busiest: busiest / fleet,
    triesPerSecond:
      settled === undefined ? 0 : (last - settled.tries) / fleet / ((leftMs - settled.atMs) / 1000),
    refusals: refusals(before.counts, agents.report().counts),
  };
}

/** Of these moments, how many are within `LOOK_MS` at most. */
function most(moments: readonly number[]): number {
  const sorted = moments.toSorted((a, b) => a - b);
  let [first, found] = [0, 0];
  for (const [last, ms] of sorted.entries()) {
    while (ms - sorted[first]! > LOOK_MS) first++;
    found = Math.max(found, last - first + 1);
  }
  return found;
}

const NOBODY_THERE = /(CONNECTION_LOST|TIMED_OUT|UNREACHABLE)$/;

type Counts = Readonly<Record<string, number>>;

function refusals(before: Counts, after: Counts): Counts {
  const more = Object.entries(after).map(([what, count]): [string, number] => [
    what,
    count - (before[what] ?? 0),
  ]);
  return Object.fromEntries(
    more.filter(
      ([what, count]) =>
        count > 0 && /^(disconnected|reconnecting|error) /.test(what) && !NOBODY_THERE.test(what),
    ),
  );
}

function sum(counts: Counts, event: string): number {
  return Object.entries(counts).reduce(
    (all, [what, count]) => all + (what.split(" ")[0] === event ? count : 0),
    0,
  );
}
