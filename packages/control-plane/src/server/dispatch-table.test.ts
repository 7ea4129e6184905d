import { MESSAGE_SCHEMAS, type MessageType, type RksMessage } from "@rk8s/protocol";
import { aHello, aNode, aNodeStatus, aPod, aPodManifest, aPodStatus, aWelcome } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { DISPATCH_TABLE } from "./dispatch-table.js";
import type { CallerKind } from "./exchange.js";
import { aCluster, type TestCluster } from "./testing/a-cluster.js";
import { TestPeer } from "./testing/test-peer.js";

const web = { namespace: "default", name: "web" };
const status = aPodStatus();

/** One well-formed message of every type. */
const EXAMPLES: { readonly [T in MessageType]: Extract<RksMessage, { type: T }> } = {
  Hello: aHello(),
  Welcome: aWelcome(),
  Error: { type: "Error", code: "INTERNAL", message: "", retryable: false },
  Ack: { type: "Ack" },
  CertificateSign: {
    type: "CertificateSign",
    tokenId: "0123456789abcdef",
    role: "node",
    csr: new Uint8Array([0x30, 0]),
    proof: new Uint8Array(64),
  },
  CheckJoin: {
    type: "CheckJoin",
    tokenId: "0123456789abcdef",
    role: "node",
    csr: new Uint8Array([0x30, 0]),
    proof: new Uint8Array(64),
  },
  CertificateRenew: { type: "CertificateRenew", csr: new Uint8Array(1), proof: new Uint8Array(64) },
  EnrolRecovery: {
    type: "EnrolRecovery",
    kind: "tpm",
    publicKey: new Uint8Array(1),
    proof: new Uint8Array(1),
  },
  CertificateRecover: {
    type: "CertificateRecover",
    nodeName: "worker-1",
    csr: new Uint8Array([0x30, 0]),
    kind: "grant",
    sequence: 0,
    machineIdSha256: new Uint8Array(32),
    proof: new Uint8Array(1),
  },
  Certificate: {
    type: "Certificate",
    nodeName: "worker-1",
    leaf: new Uint8Array(1),
    chain: [new Uint8Array(1)],
    trustBundle: [new Uint8Array(1)],
    renewAfter: "2026-01-01T00:00:00Z",
    notAfter: "2026-01-01T00:00:00Z",
    serialNumber: "01",
  },
  RegisterNode: {
    type: "RegisterNode",
    nodeName: "worker-1",
    version: "1",
    status: aNodeStatus(),
    pods: [],
  },
  Registered: {
    type: "Registered",
    heartbeatIntervalSeconds: 1,
    heartbeatGraceSeconds: 1,
    serverTime: "2026-01-01T00:00:00Z",
  },
  Heartbeat: { type: "Heartbeat", status: aNodeStatus() },
  RenewalRequired: { type: "RenewalRequired", reason: "" },
  UpdatePodStatus: { type: "UpdatePodStatus", ...web, uid: "1", status },
  NodeStopping: { type: "NodeStopping", reason: "" },
  TrustBundle: { type: "TrustBundle", generation: 1, bundle: [new Uint8Array(1)], renew: false },
  CreatePod: { type: "CreatePod", pod: aPod() },
  DeletePod: { type: "DeletePod", ...web },
  GetPodLogs: { type: "GetPodLogs", ...web, follow: false },
  PodLogs: { type: "PodLogs", container: "main" },
  LogsMoved: { type: "LogsMoved", resume: "1" },
  ApplyPod: { type: "ApplyPod", manifest: aPodManifest() },
  GetPod: { type: "GetPod", ...web },
  Pod: { type: "Pod", pod: aPod() },
  ListPods: { type: "ListPods" },
  PodList: { type: "PodList", pods: [] },
  GetNode: { type: "GetNode", name: "worker-1" },
  Node: { type: "Node", node: aNode() },
  ListNodes: { type: "ListNodes" },
  NodeList: { type: "NodeList", nodes: [] },
};

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
