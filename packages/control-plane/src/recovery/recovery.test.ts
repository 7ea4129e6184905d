import { sign } from "node:crypto";
import {
  encodeMessage,
  enrolRecoveryTranscript,
  type Message,
  recoverProofTranscript,
  RksError,
} from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import { expect, test } from "vitest";
import type { JoinTokenRequest } from "../join/join-token-store.js";
import { aCsr, aKey, type TestKey } from "../join/testing/a-request.js";
import { nodeRecords, type NodeRecord } from "../nodes/node-record.js";
import { actor, aCluster, type TestCluster } from "../server/testing/a-cluster.js";
import { type TestIdentity, TestPeer } from "../server/testing/test-peer.js";

const NAME = "worker-1";
const MACHINE = new Uint8Array(32).fill(7);
const OTHER_MACHINE = new Uint8Array(32).fill(8);

async function recordOf(cluster: TestCluster, name = NAME): Promise<NodeRecord> {
  return (await nodeRecords(cluster.storage).read(name))!.record;
}

/** A node that has joined with the token and registered from its machine. */
async function aNode(cluster: TestCluster, token: JoinTokenRequest = {}, name = NAME): Promise<TestPeer> {
  const identity = await TestPeer.join(cluster, { token: await cluster.token(token), nodeName: name });
  return use(cluster, identity);
}

async function use(cluster: TestCluster, identity: TestIdentity, machine = MACHINE): Promise<TestPeer> {
  const peer = await TestPeer.dial(cluster, identity);
  await peer.hello();
  await peer.register({ machineIdSha256: machine });
  return peer;
}

/** A TPM's key is an EC key on P-256 that signs SHA-256: any such key plays one. */
function enrolment(peer: TestPeer, key: TestKey, nodeName = NAME): Message<"EnrolRecovery"> {
  const fields = { kind: "tpm", publicKey: key.spki } as const;
  const proof = sign(
    "sha256",
    enrolRecoveryTranscript({ ...peer.greeting, nodeName, ...fields }),
    key.privateKey,
  );
  return { type: "EnrolRecovery", ...fields, proof };
}

interface Wanted {
  readonly kind?: Message<"CertificateRecover">["kind"];
  readonly machineKey?: TestKey;
  readonly sequence?: number;
  readonly key?: TestKey;
  readonly nodeName?: string;
  readonly machine?: Uint8Array;
  /** Sent in place of what was signed. */
  readonly instead?: Partial<Message<"CertificateRecover">>;
}

function request(peer: TestPeer, wanted: Wanted): Message<"CertificateRecover"> {
  const { kind = "tpm", sequence = 0, key = aKey(), nodeName = NAME, machine = MACHINE } = wanted;
  const asked = { nodeName, csr: aCsr(key), kind, sequence, machineIdSha256: machine };
  const signer = kind === "grant" ? key : (wanted.machineKey ?? aKey());
  const proof = sign("sha256", recoverProofTranscript({ ...peer.greeting, ...asked }), signer.privateKey);
  return { type: "CertificateRecover", ...asked, proof, ...wanted.instead };
}

async function recover(cluster: TestCluster, wanted: Wanted): Promise<TestIdentity> {
  const key = wanted.key ?? aKey();
  const peer = await cluster.stranger();
  try {
    await peer.hello();
    return { answer: await peer.ask(request(peer, { ...wanted, key }), "Certificate"), key };
  } finally {
    await peer.connection.close();
  }
}

async function refusal(cluster: TestCluster, wanted: Wanted): Promise<string> {
  try {
    await recover(cluster, wanted);
    return "recovered";
  } catch (error) {
    return RksError.from(error).code;
  }
}

function done(cluster: TestCluster, operation: string): unknown[] {
  return cluster.audit.lines
    .filter((line) => line.operation === operation)
    .map(({ type, outcome }) => outcome ?? type);
}

test("a node comes back by the key of its machine: same node, new key, the old certificate revoked", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  const before = await recordOf(cluster);
  const { answer, key } = await recover(cluster, { machineKey });
  const after = await recordOf(cluster);
  expect(answer).toMatchObject({ nodeName: NAME, recovery: { sequence: 1, grantsLeft: 0 } });
  expect(Buffer.from(parseCertificate(answer.leaf).spki).equals(key.spki)).toBe(true);
  expect(after).toMatchObject({
    uid: before.uid,
    joinedAt: before.joinedAt,
    serialNumber: answer.serialNumber,
  });
  expect(await cluster.ca.revocations.find(before.serialNumber)).toBeDefined();
  expect(await node.end()).toMatchObject({ reason: expect.stringContaining("another key") });
  await use(cluster, { answer, key });
  expect((await recover(cluster, { machineKey, sequence: 1 })).answer.recovery?.sequence).toBe(2);
  expect(done(cluster, "recover")).toEqual(["intent", "done", "intent", "done"]);
});

test("the same key that asks again gets the same bytes, on another connection too", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const [machineKey, key] = [aKey(), aKey()];
  await node.ask(enrolment(node, machineKey), "Ack");
  const csr = aCsr(key);
  const ask = async (): Promise<string> => {
    const peer = await cluster.stranger();
    await peer.hello();
    const message = request(peer, { machineKey, key });
    const fields = { ...peer.greeting, ...message, csr };
    const proof = sign("sha256", recoverProofTranscript(fields), machineKey.privateKey);
    return Buffer.from(encodeMessage(await peer.ask({ ...message, csr, proof }, "Certificate"))).toString(
      "hex",
    );
  };
  const first = await ask();
  expect(await ask()).toBe(first);
  expect((await recordOf(cluster)).recovery?.sequence).toBe(1);
});

test("an agent that died before it used its certificate comes back under the number before", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  await recover(cluster, { machineKey });
  const { answer } = await recover(cluster, { machineKey });
  expect(answer.recovery?.sequence).toBe(2);
  expect((await recordOf(cluster)).cloned).toBeUndefined();
});

test("a number that was used is a clone: both users are refused until the operator decides", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  const copy = await use(cluster, await recover(cluster, { machineKey }));
  expect(await refusal(cluster, { machineKey })).toBe("IDENTITY_CLONED");
  await copy.end();
  expect(await refusal(cluster, { machineKey, sequence: 1 })).toBe("IDENTITY_CLONED");
  expect((await cluster.cluster.nodes.show(NAME)).status).toBe("Banned");
  expect(done(cluster, "node.clone-alarm")).toEqual(["intent", "done"]);

  const { token } = await cluster.cluster.nodes.rejoin(NAME, actor);
  const back = await TestPeer.join(cluster, { token: token.reveal() });
  expect(back.answer.recovery?.sequence).toBe(2);
  const again = await use(cluster, back, OTHER_MACHINE);
  await again.ask(enrolment(again, machineKey), "Ack");
  expect((await recordOf(cluster)).cloned).toBeUndefined();
});

test("whoever has proven nothing is told one thing, whether the node is known or not", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster, { recoveries: 1 });
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  await aNode(cluster, {}, "worker-2");
  const before = await recordOf(cluster);
  const messages = new Set<string>();
  for (const wanted of [
    { nodeName: "nobody", machineKey },
    { nodeName: "nobody", kind: "grant" },
    { nodeName: "worker-2", machineKey },
    { nodeName: "worker-2", kind: "grant" },
    { machineKey: aKey() },
    { kind: "ssh-host-key", machineKey },
    { kind: "grant", machine: OTHER_MACHINE },
    { kind: "grant", machine: new Uint8Array(32) },
    { machineKey, instead: { sequence: 1 } },
    { machineKey, instead: { machineIdSha256: OTHER_MACHINE } },
    { machineKey, instead: { csr: aCsr(aKey()) } },
    { kind: "grant", instead: { csr: aCsr(aKey()) } },
    { kind: "grant", instead: { proof: new Uint8Array(70) } },
  ] as const satisfies readonly Wanted[]) {
    const error = await recover(cluster, wanted).catch((reason: unknown) => RksError.from(reason));
    expect(error).toMatchObject({ code: "RECOVERY_REFUSED" });
    messages.add(error instanceof RksError ? error.message.replace(/"[^"]*"/, "NAME") : "");
  }
  expect([...messages]).toHaveLength(1);
  expect(await recordOf(cluster)).toEqual(before);
  expect(done(cluster, "recover")).toEqual([]);
});

test("a recorded request is refused on another connection, and the second time on its own", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  const peer = await cluster.stranger();
  await peer.hello();
  const recorded = request(peer, { machineKey });
  await peer.ask(recorded, "Certificate");
  expect(await peer.outcome(recorded)).toBe("NONCE_EXPIRED");
  const other = await cluster.stranger();
  await other.hello();
  expect(await other.outcome(recorded)).toBe("RECOVERY_REFUSED");
});

test("the key of the machine on another machine is refused with the reason", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  await expect(recover(cluster, { machineKey, machine: OTHER_MACHINE })).rejects.toMatchObject({
    code: "RECOVERY_REFUSED",
    message: expect.stringContaining("another machine"),
  });
  expect(done(cluster, "recover")).toEqual(["refused"]);
});

test("a number from the future is refused, and harms nobody", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  expect(await refusal(cluster, { machineKey, sequence: 5 })).toBe("RECOVERY_REFUSED");
  expect((await recordOf(cluster)).cloned).toBeUndefined();
});

test("a banned node does not come back", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster, { recoveries: 1 });
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  await cluster.cluster.nodes.ban(NAME, actor);
  expect(await refusal(cluster, { machineKey })).toBe("NODE_BANNED");
  expect(await refusal(cluster, { kind: "grant" })).toBe("NODE_BANNED");
});

test("a grant brings a node back so often in its window, and again after that", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster, { recoveries: 2, recoveryWindowSeconds: 600 });
  expect(node.identity?.answer.recovery).toEqual({ sequence: 0, grantsLeft: 2 });
  await node.connection.close();
  for (const sequence of [0, 1]) {
    const back = await recover(cluster, { kind: "grant", sequence });
    expect(back.answer.recovery).toEqual({ sequence: sequence + 1, grantsLeft: 1 - sequence });
    const peer = await use(cluster, back);
    await peer.connection.close();
  }
  await expect(recover(cluster, { kind: "grant", sequence: 2 })).rejects.toMatchObject({
    code: "RECOVERY_REFUSED",
    message: expect.stringContaining("used up"),
  });
  expect((await cluster.cluster.nodes.show(NAME)).recovery.grant).toMatchObject({ recoveries: 2, left: 0 });
  cluster.clock.advance(601_000);
  expect((await recover(cluster, { kind: "grant", sequence: 2 })).answer.recovery?.grantsLeft).toBe(1);
});

test("a grant does not take the identity of a node that is connected", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster, { recoveries: 1 });
  expect(await refusal(cluster, { kind: "grant" })).toBe("UNAVAILABLE");
  await node.connection.close();
  expect(await refusal(cluster, { kind: "grant" })).toBe("recovered");
});

test("a grant is bound to the network of its token", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster, { recoveries: 1, cidr: "127.0.0.0/8" });
  await node.connection.close();
  const stored = await nodeRecords(cluster.storage).read(NAME);
  expect(stored?.record.recovery?.grant?.cidr).toBe("127.0.0.0/8");
  const { record } = stored!;
  const grant = { ...record.recovery!.grant!, cidr: "10.0.0.0/8" };
  await cluster.storage.transaction(
    [],
    [nodeRecords(cluster.storage).put(NAME, { ...record, recovery: { ...record.recovery!, grant } })],
  );
  await expect(recover(cluster, { kind: "grant" })).rejects.toMatchObject({
    code: "RECOVERY_REFUSED",
    message: expect.stringContaining('only good from "10.0.0.0/8"'),
  });
});

test("without a grant, a machine id alone brings nobody back", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  await node.connection.close();
  expect(await refusal(cluster, { kind: "grant" })).toBe("RECOVERY_REFUSED");
});

test("the same key is enrolled once; another one, and another node's, are the operator's to decide", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const other = await aNode(cluster, {}, "worker-2");
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  await node.ask(enrolment(node, machineKey), "Ack");
  expect(await node.outcome(enrolment(node, aKey()))).toBe("RECOVERY_REFUSED");
  expect(await other.outcome(enrolment(other, machineKey, "worker-2"))).toBe("RECOVERY_REFUSED");
  expect(done(cluster, "recovery.enrol")).toEqual(["intent", "done"]);
  // Its owner is gone: the key is free.
  await cluster.cluster.nodes.evict(NAME, actor);
  await other.ask(enrolment(other, machineKey, "worker-2"), "Ack");
});

test("a proof by another key, for another node or of another connection enrols nothing", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const machineKey = aKey();
  const good = enrolment(node, machineKey);
  const second = await TestPeer.dial(cluster, node.identity);
  await second.hello();
  for (const bad of [
    { ...good, proof: enrolment(node, aKey()).proof },
    enrolment(node, machineKey, "worker-2"),
    enrolment(second, machineKey),
    { ...good, publicKey: new Uint8Array(91) },
    { ...good, kind: "ssh-host-key" as const },
    enrolment(node, aKey({ rsaBits: 2048 })),
  ]) {
    expect(await node.outcome(bad)).toBe("RECOVERY_REFUSED");
  }
  expect((await recordOf(cluster)).recovery?.key).toBeUndefined();
});

test("only the first machine after a join counts", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster, { recoveries: 1 });
  await node.register({ machineIdSha256: OTHER_MACHINE });
  await node.connection.close();
  expect(await refusal(cluster, { kind: "grant", machine: OTHER_MACHINE })).toBe("RECOVERY_REFUSED");
  expect(await refusal(cluster, { kind: "grant" })).toBe("recovered");
});

test("a disk that fails in between leaves either all of a recovery or nothing", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster);
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  const before = await recordOf(cluster);
  cluster.audit.broken = "intents";
  expect(await refusal(cluster, { machineKey })).toBe("AUDIT_UNWRITABLE");
  expect(await recordOf(cluster)).toEqual(before);
  cluster.audit.broken = "nothing";
  expect(await refusal(cluster, { machineKey })).toBe("recovered");
});

test("what brings a node back is shown", async () => {
  await using cluster = await aCluster();
  const node = await aNode(cluster, { recoveries: 3 });
  const machineKey = aKey();
  await node.ask(enrolment(node, machineKey), "Ack");
  await recover(cluster, { machineKey });
  expect((await cluster.cluster.nodes.show(NAME)).recovery).toEqual({
    kind: "tpm",
    enrolledAt: new Date(cluster.clock.now()).toISOString(),
    grant: { recoveries: 3, windowSeconds: 86_400, left: 3, cidr: "127.0.0.1" },
    sequence: 1,
    past: [{ at: new Date(cluster.clock.now()).toISOString(), kind: "tpm", remoteHost: "127.0.0.1" }],
  });
});
