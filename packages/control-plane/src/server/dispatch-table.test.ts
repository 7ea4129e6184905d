import { MESSAGE_SCHEMAS, type MessageType } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { DISPATCH_TABLE } from "./dispatch-table.js";
import type { CallerKind } from "./exchange.js";
import { aCluster, type TestCluster } from "./testing/a-cluster.js";
import { EXAMPLES } from "./testing/example-messages.js";
import { TestPeer } from "./testing/test-peer.js";

const TYPES = Object.keys(MESSAGE_SCHEMAS) as MessageType[];

/** Who may send what: written out once more, so that a change of the table is a change here. */
const ALLOWED: Readonly<Record<CallerKind, readonly MessageType[]>> = {
  nobody: ["Hello"],
  bootstrapping: ["Hello", "CertificateSign", "CheckJoin", "CertificateRecover"],
  node: ["Hello", "RegisterNode"],
  "registered node": [
    "Hello",
    "CertificateRenew",
    "EnrolRecovery",
    "RegisterNode",
    "Heartbeat",
    "UpdatePodStatus",
    "NodeStopping",
  ],
  operator: ["Hello", "ApplyPod", "DeletePod", "GetPodLogs", "GetPod", "ListPods", "GetNode", "ListNodes"],
};

async function greeted(peer: Promise<TestPeer>): Promise<TestPeer> {
  await (await peer).hello();
  return peer;
}

/** Peers that are of a kind and no more. */
const PEERS: Readonly<Record<CallerKind, (cluster: TestCluster) => Promise<TestPeer>>> = {
  nobody: (cluster) => cluster.stranger(),
  bootstrapping: (cluster) => greeted(cluster.stranger()),
  node: (cluster) => greeted(cluster.node("worker-1")),
  "registered node": (cluster) => cluster.registeredNode("worker-1"),
  operator: (cluster) => cluster.operator(),
};

/** What a peer of this kind gets for every message. What may change its kind is sent last. */
async function walk(kind: CallerKind): Promise<Map<MessageType, string>> {
  await using cluster = await aCluster();
  const peer = await PEERS[kind](cluster);
  const outcomes = new Map<MessageType, string>();
  const rising: readonly MessageType[] = ["RegisterNode", "Hello"];
  for (const type of [...TYPES.filter((other) => !rising.includes(other)), ...rising]) {
    outcomes.set(type, await peer.outcome(EXAMPLES[type]));
  }
  return outcomes;
}

const KINDS = Object.keys(ALLOWED) as CallerKind[];

test.each(KINDS)("a caller of kind %j is refused every message that it may not send", async (kind) => {
  const outcomes = await walk(kind);
  const early = kind === "nobody" ? ["CertificateSign", "CheckJoin", "CertificateRecover"] : [];
  const refused = TYPES.filter((type) => outcomes.get(type) === "PERMISSION_DENIED");
  expect(refused).toEqual(TYPES.filter((type) => !ALLOWED[kind].includes(type) && !early.includes(type)));
  expect(TYPES.filter((type) => outcomes.get(type) === "MESSAGE_UNEXPECTED")).toEqual(early);
});

test.each(KINDS)("the table says the same of %j as this test", (kind) => {
  const served = TYPES.filter((type) => (DISPATCH_TABLE[type].who as readonly CallerKind[]).includes(kind));
  expect(served.toSorted()).toEqual(ALLOWED[kind].toSorted());
});

test("with a certificate, too, nothing goes before Hello", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node("worker-1");
  expect(await node.outcome(EXAMPLES.RegisterNode)).toBe("MESSAGE_UNEXPECTED");
  expect(await node.outcome(EXAMPLES.ListPods)).toBe("PERMISSION_DENIED");
});

test("a node that registered may not do on another connection what needs registration there", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode("worker-1");
  const second = await TestPeer.dial(cluster, node.identity);
  await second.hello();
  expect(await second.outcome(EXAMPLES.Heartbeat)).toBe("PERMISSION_DENIED");
});
