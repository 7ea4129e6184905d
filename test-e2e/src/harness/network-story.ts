import { setTimeout as sleep } from "node:timers/promises";
import { newToken } from "./ask-rks.js";
import { assertDone, Cluster } from "./cluster.js";
import { runPod } from "./death-story.js";
import { eventually } from "./eventually.js";
import { nodeFacts, type NodeFacts } from "./node-facts.js";
import type { Daemon } from "./process.js";
import { UdpRelay } from "./udp-relay.js";

/** A node with a pod, whose network can be made bad. */
export interface NetworkStory {
  readonly agent: Daemon;
  readonly relay: UdpRelay;
  readonly facts: () => Promise<NodeFacts>;
  /** Read the pod's log, which only its node has. @throws Error with what the command said when it failed. */
  readonly readLog: () => Promise<void>;
  /** Names of the events, since the node was up, that end something or begin it anew. */
  readonly upheavals: () => readonly string[];
}

const NAME = "worker-1";
const UPHEAVALS = ["joined", "resumed", "renewed", "registered", "disconnected", "error", "stopped"];

/** Tell a story of the node `worker-1`, which reaches its control plane over a relay; the network may be bad from the start. */
export async function behindRelay<T>(
  network: { readonly delayMs?: number; readonly loss?: number },
  tell: (story: NetworkStory) => Promise<T>,
): Promise<T> {
  await using cluster = await Cluster.start();
  await using relay = await UdpRelay.open(cluster.address);
  Object.assign(relay, network);
  const token = await newToken(cluster, { node: NAME });
  const agent = cluster.startAgent(NAME, token.token, { rksAddress: relay.address });
  await agent.event("registered");
  const from = agent.lines.length;
  await runPod(cluster);
  const outcome = await tell({
    agent,
    relay,
    facts: () => nodeFacts(cluster, NAME, token.id),
    readLog: async () => void assertDone(await cluster.operator(["logs", "sleeper"])),
    upheavals: () =>
      agent.lines
        .slice(from)
        .map(({ event }) => String(event))
        .filter((event) => UPHEAVALS.includes(event)),
  });
  relay.loss = 0;
  await agent.stop();
  return outcome;
}

/** What came of a partition. */
export interface PartitionOutcome {
  readonly before: NodeFacts;
  readonly during: NodeFacts;
  readonly after: NodeFacts;
  /** How a request that needs the node was refused meanwhile, and how soon. */
  readonly refusal: string;
  readonly refusedAfterMs: number;
  /** From the partition's end until the node was in service again. */
  readonly backMs: number;
  readonly upheavals: readonly string[];
}

/** Nothing gets through for so long, which has to be more than the idle timeout of 15 s; then everything does again. */
export async function survivePartition(seconds: number): Promise<PartitionOutcome> {
  return behindRelay({}, async ({ agent, relay, facts, readLog, upheavals }) => {
    const before = await facts();
    const from = agent.lines.length;
    const over = sleep(seconds * 1000);
    relay.loss = 1;
    await agent.event("disconnected", from);
    const during = await facts();
    const askedAt = performance.now();
    const refusal = await readLog().then(
      () => "none",
      (error: unknown) => String(error),
    );
    const refusedAfterMs = performance.now() - askedAt;

    await over;
    relay.loss = 0;
    const healedAt = performance.now();
    await agent.event("registered", from);
    const backMs = performance.now() - healedAt;
    await readLog();
    const after = await eventually(facts, ({ conditions }) => conditions.includes("Ready"));
    return { before, during, after, refusal, refusedAfterMs, backMs, upheavals: upheavals() };
  });
}
