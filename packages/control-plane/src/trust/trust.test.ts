import type { Message } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { nodeRecords } from "../nodes/node-record.js";
import type { RotationStep } from "../pki/cluster-rotation.js";
import { actor, aCluster, type TestCluster } from "../server/testing/a-cluster.js";
import { TestPeer } from "../server/testing/test-peer.js";
import { assertIssuerCounts } from "./client-issuer.js";
import type { StepOptions } from "./ca-rotation.js";

async function take(
  { cluster }: TestCluster,
  step: RotationStep,
  options: Omit<StepOptions, "actor"> = {},
): ReturnType<TestCluster["cluster"]["ca"]["step"]> {
  return cluster.ca.step(step, { ...options, ...actor });
}

/** The control plane's next request of a node, acknowledged. */
async function bundleOf(node: TestPeer): Promise<Message<"TrustBundle">> {
  const message = await node.acknowledge();
  if (message.type !== "TrustBundle") throw new Error(`a ${message.type} came`);
  return message;
}

/** Until the node's record says that it has acknowledged. */
async function acknowledged(
  { storage, clock }: TestCluster,
  name: string,
  generation: number,
): Promise<void> {
  for (let turn = 0; turn < 10_000; turn++) {
    const node = await nodeRecords(storage).read(name);
    if ((node?.record.trustGeneration ?? 0) >= generation) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`not acknowledged by ${clock.now()}`);
}

test("a live node is told of every change, and what it acknowledges is on record", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode("worker-1");
  const old = cluster.ca.root;
  await take(cluster, "prepare");
  expect(cluster.cluster.figures()).toMatchObject({ trustGeneration: 1, nodesBehindTrust: 1 });
  const bundle = await bundleOf(node);
  expect(bundle).toMatchObject({ generation: 1, renew: false });
  expect(bundle.bundle).toEqual([old, cluster.ca.trust().bundle[1]]);
  await acknowledged(cluster, "worker-1", 1);
  expect(cluster.cluster.figures().nodesBehindTrust).toBe(0);
  expect(await cluster.cluster.ca.status()).toMatchObject({ phase: "prepared", notAcknowledged: [] });

  await take(cluster, "activate");
  expect(await bundleOf(node)).toMatchObject({ generation: 2, renew: true });
  await acknowledged(cluster, "worker-1", 2);
  expect(await cluster.cluster.ca.status()).toMatchObject({
    notAcknowledged: [],
    withOldCertificate: ["worker-1"],
  });
});

test("a node that comes later is told when it registers, and told to renew while its root goes away", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node("worker-1");
  await take(cluster, "prepare");
  await take(cluster, "activate");
  await node.hello();
  await node.register();
  expect(await bundleOf(node)).toMatchObject({ generation: 2, renew: true });
  await acknowledged(cluster, "worker-1", 2);
});

test("retire is refused while nodes are behind, with their names, and done when all of them are named", async () => {
  await using cluster = await aCluster();
  await cluster.node("worker-1");
  await cluster.node("worker-2");
  await take(cluster, "prepare");
  await take(cluster, "activate");
  await expect(take(cluster, "retire")).rejects.toMatchObject({
    code: "CA_PHASE_INVALID",
    message: expect.stringContaining("worker-1 worker-2"),
  });
  await expect(take(cluster, "retire", { force: ["worker-2", "nobody"] })).rejects.toMatchObject({
    suggestion: expect.stringContaining("--force worker-1"),
  });
  const force = ["worker-1", "worker-2"];
  expect(await take(cluster, "retire", { force })).toMatchObject({ phase: "steady", generation: 3 });
});

test("a node that was left behind is refused with CA_PIN_RETIRED", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node("worker-1");
  await take(cluster, "prepare");
  await take(cluster, "activate");
  await take(cluster, "retire", { force: ["worker-1"] });
  const [leaf] = [node.identity!.answer.leaf];
  expect(() => assertIssuerCounts(leaf, "node", cluster.ca.roots)).toThrow(
    expect.objectContaining({ code: "CA_PIN_RETIRED" }),
  );
});

test("a token of a retired root is refused as such, and one of a tainted root is revoked", async () => {
  await using retiring = await aCluster();
  const token = await retiring.token();
  for (const step of ["prepare", "activate", "retire"] as const) await take(retiring, step);
  await expect(TestPeer.join(retiring, { token, nodeName: "late" })).rejects.toMatchObject({
    code: "CA_PIN_RETIRED",
  });

  await using tainting = await aCluster();
  const tainted = await tainting.token();
  await tainting.token({ role: "operator" });
  await take(tainting, "prepare");
  expect(await take(tainting, "taint")).toMatchObject({ tokensRevoked: 2, phase: "tainted" });
  await expect(TestPeer.join(tainting, { token: tainted, nodeName: "late" })).rejects.toMatchObject({
    code: "JOIN_TOKEN_REVOKED",
  });
});

test("of a tainted root a node's certificate counts for a renewal, an operator's for nothing", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node("worker-1");
  const operator = await cluster.operator();
  await take(cluster, "prepare");
  await take(cluster, "taint");
  const { roots } = cluster.ca;
  expect(() => assertIssuerCounts(node.identity!.answer.leaf, "node", roots)).not.toThrow();
  expect(() => assertIssuerCounts(operator.identity!.answer.leaf, "operator", roots)).toThrow(
    expect.objectContaining({ code: "CLIENT_CERTIFICATE_REFUSED" }),
  );
});

test("what cannot be recorded is not done, and what cannot be stored neither", async () => {
  await using cluster = await aCluster();
  cluster.audit.broken = "intents";
  await expect(take(cluster, "prepare")).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  cluster.audit.broken = "nothing";
  expect(await cluster.cluster.ca.status()).toMatchObject({ phase: "steady", generation: 0 });
  expect(await take(cluster, "prepare")).toMatchObject({ phase: "prepared" });
  const steps = cluster.audit.lines.filter(({ operation }) => operation === "ca.prepare");
  expect(steps.at(-1)).toMatchObject({ type: "result", outcome: "done", fields: { generation: 1 } });
});
