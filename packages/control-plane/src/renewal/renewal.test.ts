import { CLOSE_CODES, encodeMessage, type Message, RksError, type RksMessage } from "@rk8s/protocol";
import { aNodeStatus, aPodManifest, aPodStatus } from "@rk8s/protocol/testing";
import { parseCertificate } from "@rk8s/x509";
import { expect, test } from "vitest";
import { aCsr, aKey } from "../join/testing/a-request.js";
import { nodeRecords, type NodeRecord } from "../nodes/node-record.js";
import { aCluster, type TestCluster } from "../server/testing/a-cluster.js";
import { TestPeer, type TestIdentity } from "../server/testing/test-peer.js";

const NAME = "worker-1";

async function recordOf(cluster: TestCluster): Promise<NodeRecord> {
  return (await nodeRecords(cluster.storage).read(NAME))!.record;
}

function bytesOf(answer: Message<"Certificate">): string {
  return Buffer.from(encodeMessage(answer)).toString("hex");
}

async function isRevoked(cluster: TestCluster, { answer }: TestIdentity): Promise<boolean> {
  return (await cluster.ca.revocations.find(answer.serialNumber)) !== undefined;
}

/** Connect and say Hello: the first use of a certificate. */
async function use(cluster: TestCluster, identity: TestIdentity): Promise<TestPeer> {
  const peer = await TestPeer.dial(cluster, identity);
  await peer.hello();
  return peer;
}

function operations({ audit }: TestCluster, operation: string): unknown[] {
  return audit.lines
    .filter((line) => line.operation === operation)
    .map(({ type, outcome }) => outcome ?? type);
}

test("a renewal gives a certificate for the new key and the same name, and changes nothing else yet", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const key = aKey();
  const { answer } = await node.renew(key);
  const leaf = parseCertificate(answer.leaf);
  expect(answer.nodeName).toBe(NAME);
  expect(Buffer.from(leaf.spki).equals(key.spki)).toBe(true);
  expect(Date.parse(answer.renewAfter) - cluster.clock.now()).toBe(2_400_000);
  expect(await recordOf(cluster)).toMatchObject({
    serialNumber: node.identity!.answer.serialNumber,
    generation: 0,
    next: { serialNumber: answer.serialNumber, notAfter: answer.notAfter },
  });
  expect(await isRevoked(cluster, node.identity!)).toBe(false);
  expect(operations(cluster, "renew")).toEqual(["intent", "done"]);
});

test("the first use of the next certificate makes it the current one and revokes the one before", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  await use(cluster, next);
  const record = await recordOf(cluster);
  expect(record).toMatchObject({ serialNumber: next.answer.serialNumber, generation: 1 });
  expect(record.next).toBeUndefined();
  expect(await isRevoked(cluster, node.identity!)).toBe(true);
  expect(operations(cluster, "renew.use")).toEqual(["intent", "done"]);
  const old = await TestPeer.dial(cluster, node.identity);
  expect(await old.outcome({ type: "Hello", versions: [1], features: [], nonce: new Uint8Array(32) })).toBe(
    "CERTIFICATE_REVOKED",
  );
});

test("a registration is told the generation of its certificate", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  expect(await node.register()).toMatchObject({ certificateGeneration: 0 });
  const renewed = await use(cluster, await node.renew());
  expect(await renewed.register()).toMatchObject({ certificateGeneration: 1 });
});

test("connecting with the next certificate without Hello uses nothing", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  const silent = await TestPeer.dial(cluster, next);
  await silent.connection.close();
  expect(await recordOf(cluster)).toMatchObject({
    generation: 0,
    next: { serialNumber: next.answer.serialNumber },
  });
});

test("the same key gets the same bytes, before and after the certificate's first use", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const key = aKey();
  const first = await node.renew(key);
  const again = await node.renew(key);
  expect(bytesOf(again.answer)).toBe(bytesOf(first.answer));
  const renewed = await use(cluster, first);
  await renewed.register();
  expect(bytesOf((await renewed.renew(key)).answer)).toBe(bytesOf(first.answer));
  // An agent that does not know yet that its new certificate was seen asks over the old connection.
  expect(bytesOf((await node.renew(key)).answer)).toBe(bytesOf(first.answer));
});

test("a second renewal with another key replaces the next certificate and revokes it", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const first = await node.renew();
  const second = await node.renew();
  expect((await recordOf(cluster)).next?.serialNumber).toBe(second.answer.serialNumber);
  expect(await isRevoked(cluster, first)).toBe(true);
  const late = await TestPeer.dial(cluster, first);
  await expect(late.hello()).rejects.toMatchObject({ code: "CERTIFICATE_REVOKED" });
  await use(cluster, second);
  expect((await recordOf(cluster)).serialNumber).toBe(second.answer.serialNumber);
});

test("the key that the node has already is refused", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  await expect(node.renew(node.identity!.key)).rejects.toMatchObject({ code: "CSR_INVALID" });
});

test("over a connection of an older certificate nothing new is given", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  await use(cluster, await node.renew());
  await expect(node.renew()).rejects.toMatchObject({ code: "CONFLICT" });
});

const BAD_REQUESTS: readonly {
  readonly name: string;
  readonly message: (node: TestPeer) => Message<"CertificateRenew">;
  readonly code: string;
}[] = [
  {
    name: "signed by another key",
    message: (node) => node.certificateRenew(aKey(), { signedBy: aKey() }),
    code: "CSR_INVALID",
  },
  {
    name: "signed by the current key",
    message: (node) => node.certificateRenew(aKey(), { signedBy: node.identity!.key }),
    code: "CSR_INVALID",
  },
  {
    name: "made for another connection",
    message: (node) => node.certificateRenew(aKey(), { welcome: new Uint8Array(48) }),
    code: "CSR_INVALID",
  },
  {
    name: "with a request that its key did not sign",
    message: (node) => {
      const key = aKey();
      return node.certificateRenew(key, { csr: aCsr(key, { signedBy: aKey() }) });
    },
    code: "CSR_INVALID",
  },
  {
    name: "for a weak key",
    message: (node) => node.certificateRenew(aKey({ rsaBits: 1024 })),
    code: "KEY_TOO_WEAK",
  },
  {
    name: "that is no request",
    message: () => ({ type: "CertificateRenew", csr: new Uint8Array([0x30, 0]), proof: new Uint8Array(64) }),
    code: "CSR_INVALID",
  },
];

test.each(BAD_REQUESTS)("a renewal $name is refused and changes nothing", async ({ message, code }) => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const before = await recordOf(cluster);
  expect(await node.outcome(message(node))).toBe(code);
  expect(await recordOf(cluster)).toEqual(before);
});

test("RSA keys are renewed as well", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const key = aKey({ rsaBits: 2048 });
  expect(Buffer.from(parseCertificate((await node.renew(key)).answer.leaf).spki).equals(key.spki)).toBe(true);
});

test("two connections that use the next certificate at once make it the current one once", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  await Promise.all([use(cluster, next), use(cluster, next)]);
  expect(await recordOf(cluster)).toMatchObject({ generation: 1 });
  expect(operations(cluster, "renew.use")).toEqual(["intent", "done"]);
});

test("a renewal while the next certificate is being used ends in one of the two orders", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  const peer = await TestPeer.dial(cluster, next);
  const codeOf = async (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => "done",
      (reason: unknown) => RksError.from(reason).code,
    );
  const [used, renewed] = await Promise.all([codeOf(peer.hello()), codeOf(node.renew())]);
  const { generation } = await recordOf(cluster);
  expect([
    ["done", "CONFLICT", 1],
    ["CERTIFICATE_REVOKED", "done", 0],
  ]).toContainEqual([used, renewed, generation]);
});

test.each(["intents", "results"] as const)(
  "while %s cannot be audited no certificate is handed out",
  async (broken) => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode(NAME);
    const key = aKey();
    cluster.audit.broken = broken;
    await expect(node.renew(key)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
    expect((await recordOf(cluster)).next !== undefined).toBe(broken === "results");
    cluster.audit.broken = "nothing";
    const { answer } = await node.renew(key);
    expect((await recordOf(cluster)).next?.serialNumber).toBe(answer.serialNumber);
  },
);

test("a full disk refuses the renewal and the first use, and both work later with what is there", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const full = new RksError("STORAGE_FULL", "the test's disk is full");
  cluster.storage.fault = full;
  await expect(node.renew()).rejects.toMatchObject({ code: "STORAGE_FULL" });
  cluster.storage.fault = undefined;
  const next = await node.renew();
  const peer = await TestPeer.dial(cluster, next);
  cluster.storage.fault = full;
  await expect(peer.hello()).rejects.toMatchObject({ code: "STORAGE_FULL" });
  expect(await recordOf(cluster)).toMatchObject({ generation: 0 });
  cluster.storage.fault = undefined;
  await peer.hello();
  expect(await recordOf(cluster)).toMatchObject({ generation: 1 });
});

test("after a restart of the control plane the same key still gets the same bytes", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const key = aKey();
  const first = await node.renew(key);
  await using later = await aCluster({ storage: cluster.storage, clock: cluster.clock, ca: cluster.ca });
  const back = await TestPeer.dial(later, node.identity);
  await back.hello();
  await back.register();
  expect(bytesOf((await back.renew(key)).answer)).toBe(bytesOf(first.answer));
});

test("a node that asks for certificates without end is slowed down", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  for (let i = 0; i < 10; i++) await node.renew();
  await expect(node.renew()).rejects.toMatchObject({ code: "BUSY" });
  cluster.clock.advance(2_000);
  await node.renew();
});

test("who comes back with a rejoin token loses the current and the next certificate of before", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  const { token } = await cluster.cluster.nodes.rejoin(NAME, { actor: "test" });
  await TestPeer.join(cluster, { token: token.reveal(), nodeName: NAME });
  expect(await recordOf(cluster)).toMatchObject({ generation: 1 });
  expect((await recordOf(cluster)).next).toBeUndefined();
  expect(await isRevoked(cluster, node.identity!)).toBe(true);
  expect(await isRevoked(cluster, next)).toBe(true);
  const late = await TestPeer.dial(cluster, next);
  await expect(late.hello()).rejects.toMatchObject({ code: "CERTIFICATE_REVOKED" });
});

test("the old connection drains when the same process registers with its next certificate", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node(NAME);
  await node.hello();
  await node.register({ instanceId: "a" });
  const renewed = await use(cluster, await node.renew());
  await renewed.register({ instanceId: "a" });
  expect(await node.outcome({ type: "Heartbeat", status: aNodeStatus() })).toBe("Ack");
  cluster.clock.advance(60_000);
  expect(await node.end()).toMatchObject({ by: "peer", code: CLOSE_CODES.CONFLICT });
  expect(await renewed.outcome({ type: "Heartbeat", status: aNodeStatus() })).toBe("Ack");
});

test("the old connection is the one in use until the new one has registered", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  await use(cluster, await node.renew());
  cluster.clock.advance(39_000);
  expect(await node.outcome({ type: "Heartbeat", status: aNodeStatus() })).toBe("Ack");
  cluster.clock.advance(39_000);
  expect(await cluster.cluster.nodes.show(NAME)).toMatchObject({ status: "Ready" });
});

test("another process with the next certificate closes the old connection at once", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node(NAME);
  await node.hello();
  await node.register({ instanceId: "a" });
  const renewed = await use(cluster, await node.renew());
  await renewed.register({ instanceId: "b" });
  expect(await node.end()).toMatchObject({ by: "peer", code: CLOSE_CODES.CONFLICT });
});

test("a connection of an older certificate does not get the node back", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const renewed = await use(cluster, await node.renew());
  await renewed.register();
  await expect(node.register()).rejects.toMatchObject({ code: "CERTIFICATE_REVOKED" });
  await renewed.connection.close();
  await expect(node.register()).rejects.toMatchObject({ code: "CERTIFICATE_REVOKED" });
});

test("a status that arrives late over the old connection does not undo what was said over the new one", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const { metadata } = await cluster.cluster.pods.apply(aPodManifest());
  const { namespace, name, uid } = metadata;
  const statusOf = (phase: "Running" | "Succeeded"): RksMessage => ({
    type: "UpdatePodStatus",
    namespace,
    name,
    uid,
    status: aPodStatus({ phase }),
  });
  const renewed = await use(cluster, await node.renew());
  await renewed.register();
  await renewed.ask(statusOf("Succeeded"), "Ack");
  await node.ask(statusOf("Running"), "Ack");
  expect((await cluster.cluster.pods.get({ namespace, name })).status.phase).toBe("Succeeded");
});
