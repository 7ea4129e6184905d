import { setTimeout as sleep } from "node:timers/promises";
import { aPodManifest } from "@rk8s/protocol/testing";
import { applyPod, askRks, clusterState, newToken, tokenState } from "./ask-rks.js";
import { Cluster } from "./cluster.js";
import { eventually } from "./eventually.js";
import type { Daemon } from "./process.js";
import { workerPid } from "./worker.js";

const NODE = "worker-1";
/** A renewal, from the demand to the first use of the new certificate, is over after about this. */
const RENEWAL_MS = 150;

/** Who dies. */
export type Victim = "agent" | "control plane";

/** What came of killing an agent, or its control plane, again and again. */
export interface DeathOutcome {
  /** From each kill until the node was in service again. */
  readonly backMs: readonly number[];
  /** Events that were not asked for: another join, an error, an end. */
  readonly surprises: readonly string[];
  readonly nodes: readonly string[];
  readonly tokenUses: number;
  /** Of the node's certificate when all was over: renewals that were finished. */
  readonly generation: number;
  readonly conditions: readonly string[];
  readonly refusedBecause: string | null;
  /** How often the pod's container was started again, and whether it is the process that it was. */
  readonly pod: { readonly restarts: number; readonly isTheSame: boolean };
  readonly exitCode: number | null;
}

/**
 * `kill -9` for the process of the agent, or of `rks`, which then is started again: at any moment, and each second time
 * while the agent renews its certificate, as the control plane has told it to. A pod runs on the node all the while.
 */
export async function killAgainAndAgain(victim: Victim, kills: number): Promise<DeathOutcome> {
  await using cluster = await Cluster.start();
  const token = await newToken(cluster, { node: NODE });
  const agent = cluster.startAgent(NODE, token.token);
  await agent.event("registered");
  const podBefore = await runPod(cluster);

  const backMs: number[] = [];
  for (let kill = 0; kill < kills; kill++) {
    const isRenewing = kill % 2 === 1;
    if (isRenewing) await askRks(cluster, "POST", `/v1/rk8s/nodes/${NODE}/renew`, { reason: "a test" });
    await sleep(Math.random() * (isRenewing ? RENEWAL_MS : 1500));
    const pid = victim === "agent" ? await runningWorker(agent) : undefined;
    const [from, startedMs] = [agent.lines.length, performance.now()];
    if (pid === undefined) {
      await restart(cluster);
      await whenReady(cluster);
    } else {
      process.kill(pid, "SIGKILL");
      await agent.event("registered", from);
    }
    backMs.push(performance.now() - startedMs);
  }

  const { nodes, pods } = await clusterState(cluster);
  const details = (await askRks(cluster, "GET", `/v1/rk8s/nodes/${NODE}`)) as {
    certificateGeneration: number;
    refusedBecause: string | null;
    conditions: { type: string; status: string }[];
  };
  const [container] = pods[0]!.status.containerStatuses;
  const podAfter = container?.state.running?.startedAt;
  const { usedCount } = await tokenState(cluster, token.id);
  const seen = agent.lines.map((line) => String(line["event"]));
  return {
    backMs,
    surprises: seen.slice(1).filter((event) => ["joined", "error", "stopped"].includes(event)),
    nodes: nodes.map(({ name }) => name),
    tokenUses: usedCount,
    generation: details.certificateGeneration,
    conditions: details.conditions.filter(({ status }) => status === "True").map(({ type }) => type),
    refusedBecause: details.refusedBecause,
    pod: { restarts: container!.restartCount, isTheSame: podAfter === podBefore },
    exitCode: await agent.stop(),
  };
}

async function runningWorker(agent: Daemon): Promise<number | undefined> {
  return eventually(
    () => workerPid(agent),
    (found) => found !== undefined,
  );
}

async function restart(cluster: Cluster): Promise<void> {
  cluster.controlPlane.kill("SIGKILL");
  await cluster.controlPlane.exited;
  await cluster.startControlPlane();
}

/** As rks says, which knows no node as Ready before it has registered anew, be it with the renewed certificate at once. */
async function whenReady(cluster: Cluster): Promise<void> {
  await eventually(
    async () => (await askRks(cluster, "GET", `/v1/rk8s/nodes/${NODE}`)) as { status: string },
    ({ status }) => status === "Ready",
  );
}

/** Start a pod that runs for long; returns since when it does. */
export async function runPod(cluster: Cluster): Promise<string | undefined> {
  await applyPod(cluster, aPodManifest({ name: "sleeper", command: ["sleep", "1000"] }));
  const { pods } = await eventually(
    () => clusterState(cluster),
    (state) => state.pods[0]?.status.phase === "Running",
  );
  return pods[0]!.status.containerStatuses[0]?.state.running?.startedAt;
}
