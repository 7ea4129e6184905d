import { type Agent, createAgent } from "@rk8s/agent";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clusterState, newToken, tokenState } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import type { Daemon } from "./harness/process.js";
import { UdpRelay } from "./harness/udp-relay.js";

const AGENTS = 50;
const PROCESSES = 5;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** How an agent came out: a member of the cluster, or refused with a code. */
type Outcome = { readonly node: string } | { readonly code: string };

async function ofAgent(agent: Agent): Promise<Outcome> {
  for await (const event of agent.events()) {
    if (event.event === "registered") return { node: event.node };
    if (event.event === "error") return { code: event.code };
  }
  throw new Error("the agent ended without a word");
}

async function ofProcess(daemon: Daemon): Promise<Outcome> {
  const line = await daemon.line(({ event }) => event === "registered" || event === "error");
  if (line["event"] === "registered") return { node: String(line["node"]) };
  expect(await daemon.exited).toBe(77);
  return { code: String(line["code"]) };
}

/** What everybody came out as, joined ones and each code counted. */
function tally(outcomes: readonly Outcome[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) {
    const key = "code" in outcome ? outcome.code : "joined";
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** Agents of the SDK that dial a relay which lets nothing through before all of them stand at the door. */
async function atOnce(
  names: readonly string[],
  token: string,
  processes: readonly string[] = [],
): Promise<readonly Outcome[]> {
  await using relay = await UdpRelay.open(cluster.address);
  relay.hold();
  const daemons = processes.map((name) => cluster.startAgent(name, token, { rksAddress: relay.address }));
  // The processes take a second to start; nobody is to lose patience before they have.
  if (daemons.length > 0) await relay.clients(daemons.length);
  const { address: rksAddress } = relay;
  const { rootCertPath } = cluster;
  const agents = await Promise.all(
    names.map((nodeName) => createAgent({ rksAddress, joinToken: token, rootCertPath, nodeName })),
  );
  await relay.clients(names.length + daemons.length);
  relay.release();
  try {
    return await Promise.all([...agents.map(ofAgent), ...daemons.map(ofProcess)]);
  } finally {
    await Promise.all([...agents.map((agent) => agent.stop()), ...daemons.map((daemon) => daemon.stop())]);
  }
}

function namesOf(group: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${group}-${i + 1}`);
}

async function nodesOf(group: string): Promise<string[]> {
  const { nodes } = await clusterState(cluster);
  return nodes.map(({ name }) => name).filter((name) => name.startsWith(`${group}-`));
}

test("of fifty agents with one single-use token at the same instant exactly one joins", async () => {
  const { token, id } = await newToken(cluster);

  const outcomes = await atOnce(
    namesOf("single", AGENTS - PROCESSES),
    token,
    namesOf("single-process", PROCESSES),
  );

  expect(tally(outcomes)).toEqual({ joined: 1, JOIN_TOKEN_USED: AGENTS - 1 });
  const winner = outcomes.find((outcome) => "node" in outcome);
  expect(await nodesOf("single")).toEqual([winner?.node]);
  const { usedBy, ...state } = await tokenState(cluster, id);
  expect(state).toMatchObject({ status: "used", usedCount: 1 });
  expect(usedBy.map(({ node }) => node)).toEqual([winner?.node]);
});

test("a token of ten uses lets ten of fifty agents in", async () => {
  const { token, id } = await newToken(cluster, { uses: 10 });

  const outcomes = await atOnce(namesOf("ten", AGENTS), token);

  expect(tally(outcomes)).toEqual({ joined: 10, JOIN_TOKEN_USED: AGENTS - 10 });
  const winners = outcomes.flatMap((outcome) => ("node" in outcome ? [outcome.node] : []));
  expect((await nodesOf("ten")).toSorted()).toEqual(winners.toSorted());
  const { usedBy, ...state } = await tokenState(cluster, id);
  expect(state).toMatchObject({ status: "used", usedCount: 10 });
  expect(usedBy.map(({ node }) => node).toSorted()).toEqual(winners.toSorted());
});

test("of fifty agents with one name exactly one gets it, and the others use up nothing", async () => {
  const { token, id } = await newToken(cluster, { uses: AGENTS });
  const names = Array.from({ length: AGENTS }, () => "name-wanted");

  const outcomes = await atOnce(names, token);

  expect(tally(outcomes)).toEqual({ joined: 1, NODE_NAME_TAKEN: AGENTS - 1 });
  expect(await nodesOf("name")).toEqual(["name-wanted"]);
  expect(await tokenState(cluster, id)).toMatchObject({ status: "usable", usedCount: 1 });
});
