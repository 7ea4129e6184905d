import { seededRandom } from "@rk8s/protocol/testing";
import { EtcdCluster } from "@rk8s/storage/testing/etcd";
import { setTimeout as sleep } from "node:timers/promises";
import { newToken } from "./ask-rks.js";
import { ChaosAgents } from "./chaos-agents.js";
import { Cluster } from "./cluster.js";
import { eventually } from "./eventually.js";
import { KeptControlPlane } from "./kept-control-plane.js";
import { whenStoredIn } from "./storage-status.js";
import { workerPid } from "./worker.js";

const PREFIX = "/chaos";
const KINDS = ["agent", "rks", "etcd"] as const;
/** From one kill to the next. */
const EVERY_MS = 1000;
const START_MS = 30_000;
/** Every so many joins two agents have the same token for one use. */
const DUEL_EVERY = 10;

export interface ChaosInit {
  readonly joins: number;
  /** Joins under way at a time. */
  readonly together: number;
  /** Agents that run at a time; more are stopped, as hosts are for maintenance. */
  readonly alive: number;
  /** After so many the others join in peace. */
  readonly maxKills: number;
  /** The same seed kills in the same order. */
  readonly seed: number;
}

/** What is wrong in the end: everything is empty when nothing is. */
export interface ChaosOutcome {
  readonly kills: Readonly<Record<(typeof KINDS)[number], number>>;
  /** Control planes that ended without having been killed. */
  readonly ends: readonly string[];
  /** Agents that came out otherwise than they should. */
  readonly surprises: readonly string[];
  /** Nodes that joined and are not known, or that are known and did not join. */
  readonly lost: readonly string[];
  /** Agents that run and are not Ready. */
  readonly notReady: readonly string[];
  /** Tokens that were not used once, by the node that joined with them. */
  readonly tokens: readonly string[];
  /** Certificates that agents have and the store does not know, or that are not the node's. */
  readonly certificates: readonly string[];
}

/**
 * Two rks on a store of three etcd members, and agents that join; each second `kill -9` for one of these processes, picked at
 * random. What was killed is started again. In the end everything that agents were told is compared with the store.
 */
export async function surviveChaos(init: ChaosInit): Promise<ChaosOutcome> {
  const random = seededRandom(init.seed);
  await using etcd = await EtcdCluster.start({ members: 3, tls: false });
  const config = { xline_config: { endpoints: etcd.endpoints, prefix: PREFIX } };
  await using one = await Cluster.start(config);
  await whenStoredIn(one, "etcd");
  await using two = await Cluster.beside(one, config);
  const tokens = await Promise.all(
    Array.from({ length: init.joins }, () => newToken(one, { ttlSeconds: 7200 })),
  );
  await using first = new KeptControlPlane(one);
  await using second = new KeptControlPlane(two);
  const planes = [first, second];
  const agents = new ChaosAgents(one, `${one.address},${two.address}`, init);

  const over = new AbortController();
  const kills = { agent: 0, rks: 0, etcd: 0 };
  const killing = (async () => {
    const pick = <T>(all: readonly T[]): T | undefined => all[Math.floor(random() * all.length)];
    while (!over.signal.aborted && kills.agent + kills.rks + kills.etcd < init.maxKills) {
      await sleep(EVERY_MS);
      const kind = pick(KINDS)!;
      if (kind === "rks") {
        const plane = pick(planes)!;
        // On a slow machine there would never be one otherwise.
        if (!plane.isReady && !planes.some(({ isReady }) => isReady)) continue;
        plane.kill();
      } else if (kind === "etcd") {
        const member = pick(etcd.members)!;
        await member.kill();
        member.start();
      } else {
        const agent = pick(agents.running);
        const pid = agent && (await workerPid(agent).catch(() => undefined));
        if (pid === undefined) continue;
        process.kill(pid, "SIGKILL");
      }
      kills[kind] += 1;
    }
  })();
  try {
    let next = 0;
    const joiner = async (): Promise<void> => {
      while (next < tokens.length) {
        const number = next++;
        const names = number % DUEL_EVERY === 0 ? [`node-${number}`, `rival-${number}`] : [`node-${number}`];
        await agents.join(names, tokens[number]!);
      }
    };
    await Promise.all(Array.from({ length: init.together }, joiner));
  } finally {
    over.abort();
    await killing;
  }

  await Promise.all(etcd.members.map((member) => member.healthy(START_MS)));
  await eventually(
    () => Promise.resolve(planes),
    (all) => all.every(({ isReady }) => isReady),
  );
  const ends = (): string[] => planes.flatMap((plane) => plane.ends);
  const compared = await agents.compareWith(one, two).catch((cause: unknown) => {
    throw new Error(`cannot compare; control planes that ended by themselves: ${ends().join("; ")}`, {
      cause,
    });
  });
  return { kills, ends: ends(), ...compared };
}
