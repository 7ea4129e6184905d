import { type Message, RksError } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { aClusterCa } from "../join/testing/a-cluster-ca.js";
import { FaultyStorage } from "../join/testing/faulty-storage.js";
import { nodeRecords } from "../nodes/node-record.js";
import type { RotationStep } from "../pki/cluster-rotation.js";
import { actor, aCluster, type TestCluster } from "../server/testing/a-cluster.js";
import { TestPeer } from "../server/testing/test-peer.js";
import { NO_MEMBERS, type StoreTrial } from "../store/choose-store.js";
import { assertIssuerCounts } from "./client-issuer.js";
import type { StepOptions } from "./ca-rotation.js";

const SECOND = "https://store-2:2379";

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

/** A store of two members, of which the second follows when it is told to. */
function aStore(): { isBehind: boolean; try(): Promise<StoreTrial> } {
  return {
    isBehind: true,
    try() {
      const behind = this.isBehind ? [{ endpoint: SECOND, code: "SERVER_UNTRUSTED" as const }] : [];
      return Promise.resolve({ ...NO_MEMBERS, members: 2, behind });
    },
  };
}

test("retire is refused while members of the store would be lost, and what to do is said", async () => {
  const store = aStore();
  await using cluster = await aCluster({ tryStore: () => store.try() });
  await cluster.node("worker-1");
  await take(cluster, "prepare");
  const activated = await take(cluster, "activate");
  expect(activated).toMatchObject({
    storeMembers: 2,
    storeMembersBehind: [{ endpoint: SECOND, code: "SERVER_UNTRUSTED" }],
    warnings: [],
    next: expect.stringMatching(/^Run `rks gen xline-certs`.*`rks ca retire`/),
  });
  await expect(take(cluster, "retire", { force: ["worker-1"] })).rejects.toMatchObject({
    code: "CA_PHASE_INVALID",
    message: expect.stringContaining(
      `1 members of the store behind that have not followed yet: ${SECOND} (SERVER_UNTRUSTED)`,
    ),
    suggestion: expect.stringMatching(
      /^Run `rks gen xline-certs`.*`rks ca retire --force https:\/\/store-2:2379`\.$/,
    ),
  });
  await expect(take(cluster, "retire", { force: [SECOND] })).rejects.toMatchObject({
    message: expect.stringMatching(/1 nodes behind .*: worker-1$/),
  });
  await expect(take(cluster, "retire")).rejects.toMatchObject({
    suggestion: expect.stringContaining(`rks ca retire --force worker-1 ${SECOND}`),
  });
  store.isBehind = false;
  expect(await take(cluster, "retire", { force: ["worker-1"] })).toMatchObject({ phase: "steady" });
});

test("members of the store that are named are left behind, and a warning says so from then on", async () => {
  const store = aStore();
  await using cluster = await aCluster({ tryStore: () => store.try() });
  for (const step of ["prepare", "activate"] as const) await take(cluster, step);
  const { warnings, storeMembersBehind } = await take(cluster, "retire", { force: [SECOND] });
  expect(storeMembersBehind).toHaveLength(1);
  expect(warnings).toEqual([expect.stringContaining(`${SECOND} (SERVER_UNTRUSTED)`)]);
  const retired = cluster.audit.lines.filter(({ operation }) => operation === "ca.retire");
  expect(retired[0]).toMatchObject({ fields: { leftBehind: [SECOND] } });
  store.isBehind = false;
  expect(await cluster.cluster.ca.status()).toMatchObject({ warnings: [] });
});

test("a taint waits for no member of the store, warns of those behind, and revoke waits for them", async () => {
  const store = aStore();
  await using cluster = await aCluster({ tryStore: () => store.try() });
  await take(cluster, "prepare");
  expect(await take(cluster, "taint")).toMatchObject({
    phase: "tainted",
    warnings: [expect.stringContaining(SECOND)],
  });
  await expect(take(cluster, "revoke")).rejects.toMatchObject({ code: "CA_PHASE_INVALID" });
  store.isBehind = false;
  expect(await take(cluster, "revoke")).toMatchObject({ phase: "steady", warnings: [] });
});

test("a root whose time is over is retired without asking the store, and a rollback asks it only when a root goes", async () => {
  const store = aStore();
  const clock = new FakeClock();
  const storage = new FaultyStorage();
  const ca = await aClusterCa(storage, clock, 60);
  await using cluster = await aCluster({ clock, storage, ca, tryStore: () => store.try() });
  for (const step of ["prepare", "activate", "rollback"] as const) await take(cluster, step);
  await expect(take(cluster, "rollback")).rejects.toMatchObject({ code: "CA_PHASE_INVALID" });
  await take(cluster, "activate");
  clock.advance(60_000);
  expect(await take(cluster, "retire")).toMatchObject({ phase: "steady" });
});

test("a store that cannot be tried keeps the old root trusted", async () => {
  let isDown = false;
  const down = new RksError("CONFIG_INVALID", "no certificate");
  const tryStore = (): Promise<StoreTrial> =>
    isDown ? Promise.reject(down) : Promise.resolve({ ...NO_MEMBERS, members: 1 });
  await using cluster = await aCluster({ tryStore });
  for (const step of ["prepare", "activate"] as const) await take(cluster, step);
  isDown = true;
  await expect(take(cluster, "retire")).rejects.toBe(down);
  isDown = false;
  expect(await cluster.cluster.ca.status()).toMatchObject({ phase: "activated" });
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
