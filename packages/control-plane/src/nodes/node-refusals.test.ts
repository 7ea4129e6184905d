import { CLOSE_CODES, RksError } from "@rk8s/protocol";
import { aNodeStatus } from "@rk8s/protocol/testing";
import { expect, test, vi } from "vitest";
import { aKey } from "../join/testing/a-request.js";
import { actor, aCluster, type TestCluster } from "../server/testing/a-cluster.js";
import { TestPeer, type TestIdentity } from "../server/testing/test-peer.js";

const NAME = "worker-1";

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "done",
    (reason: unknown) => RksError.from(reason).code,
  );
}

/** What a connection with this identity is told. */
async function greetingOf(cluster: TestCluster, identity: TestIdentity | undefined): Promise<string> {
  return codeOf((await TestPeer.dial(cluster, identity)).hello());
}

async function reasonOf(cluster: TestCluster, { answer }: TestIdentity): Promise<string | undefined> {
  return (await cluster.ca.revocations.find(answer.serialNumber))?.reason;
}

function audited({ audit }: TestCluster, operation: string): readonly unknown[] {
  return audit.lines.filter((line) => line.operation === operation && line.type === "result");
}

/** Two processes with one identity, of which the second has taken the node from the first. */
async function aClonedNode(
  cluster: TestCluster,
): Promise<{ readonly first: TestPeer; readonly second: TestPeer }> {
  const first = await cluster.node(NAME);
  await first.hello();
  await first.register({ instanceId: "first" });
  const second = await TestPeer.dial(cluster, first.identity);
  await second.hello();
  await second.register({ instanceId: "second" });
  expect(await first.end()).toMatchObject({ code: CLOSE_CODES.CONFLICT });
  return { first, second };
}

test("a ban ends the node's connections, and says why", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  await cluster.cluster.nodes.ban(NAME, { ...actor, reason: "stolen" });
  expect(await node.end()).toMatchObject({ by: "peer", code: CLOSE_CODES.NODE_BANNED });
  expect(await cluster.cluster.nodes.show(NAME)).toMatchObject({
    status: "Banned",
    refusedBecause: "stolen",
  });
  expect(audited(cluster, "node.ban")).toMatchObject([{ outcome: "done", fields: { reason: "stolen" } }]);
});

test("a banned node is refused with its current, its next and a new certificate, until the ban is lifted", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  const token = await cluster.token({ node: NAME });
  const rejoin = await cluster.cluster.nodes.rejoin(NAME, actor);
  await cluster.cluster.nodes.ban(NAME, actor);
  expect(await greetingOf(cluster, node.identity)).toBe("NODE_BANNED");
  expect(await greetingOf(cluster, next)).toBe("NODE_BANNED");
  expect(await codeOf(TestPeer.join(cluster, { token, nodeName: NAME }))).toBe("NODE_BANNED");
  expect(await codeOf(TestPeer.join(cluster, { token: rejoin.token.reveal() }))).toBe("NODE_BANNED");
  expect(await codeOf(cluster.cluster.nodes.rejoin(NAME, actor))).toBe("NODE_BANNED");
  await cluster.cluster.nodes.unban(NAME, actor);
  expect(await greetingOf(cluster, node.identity)).toBe("done");
  expect(await codeOf(TestPeer.join(cluster, { token: rejoin.token.reveal() }))).toBe("done");
});

test("a connection on which the node is not greeted yet ends with the ban as well", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node(NAME);
  await cluster.cluster.nodes.ban(NAME, actor);
  expect(await codeOf(node.hello())).not.toBe("done");
});

test("certificates of a banned node are on hold, and are no more when it is let in again", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  await cluster.cluster.nodes.ban(NAME, actor);
  expect(await reasonOf(cluster, node.identity!)).toBe("certificateHold");
  expect(await reasonOf(cluster, next)).toBe("certificateHold");
  await cluster.cluster.nodes.unban(NAME, actor);
  expect(await reasonOf(cluster, node.identity!)).toBeUndefined();
  expect(await reasonOf(cluster, next)).toBeUndefined();
});

test("lifting a ban brings back no certificate that was replaced before it", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  await (await TestPeer.dial(cluster, await node.renew())).hello();
  await cluster.cluster.nodes.ban(NAME, actor);
  await cluster.cluster.nodes.unban(NAME, actor);
  expect(await reasonOf(cluster, node.identity!)).toBe("superseded");
  expect(await greetingOf(cluster, node.identity)).toBe("CERTIFICATE_REVOKED");
});

test("evicting a node revokes its certificates for good, also those on hold, and frees the name", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  await cluster.cluster.nodes.ban(NAME, actor);
  await cluster.cluster.nodes.evict(NAME, actor);
  expect(await reasonOf(cluster, node.identity!)).toBe("cessationOfOperation");
  expect(await reasonOf(cluster, next)).toBe("cessationOfOperation");
  expect(await greetingOf(cluster, node.identity)).toBe("NODE_EVICTED");
  expect(await codeOf(TestPeer.join(cluster, { token: await cluster.token(), nodeName: NAME }))).toBe("done");
});

test("a ban that cannot be audited or written bans nobody", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  cluster.audit.broken = "intents";
  expect(await codeOf(cluster.cluster.nodes.ban(NAME, actor))).toBe("AUDIT_UNWRITABLE");
  cluster.audit.broken = "nothing";
  cluster.storage.fault = new RksError("STORAGE_FULL", "the test's disk is full");
  expect(await codeOf(cluster.cluster.nodes.ban(NAME, actor))).toBe("STORAGE_FULL");
  expect(await node.outcome({ type: "Heartbeat", status: aNodeStatus() })).toBe("Ack");
});

test("a ban whose result cannot be audited holds and ends the connection all the same", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  cluster.audit.broken = "results";
  expect(await codeOf(cluster.cluster.nodes.ban(NAME, actor))).toBe("AUDIT_UNWRITABLE");
  expect(await node.end()).toMatchObject({ code: CLOSE_CODES.NODE_BANNED });
});

test.each(["ban", "unban"] as const)("there is nothing to %s without a node", async (verb) => {
  await using cluster = await aCluster();
  expect(await codeOf(cluster.cluster.nodes[verb]("nobody", actor))).toBe("NOT_FOUND");
});

test("a ban wins over a renewal and a first use at the same moment", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const next = await node.renew();
  const peer = await TestPeer.dial(cluster, next);
  await Promise.allSettled([cluster.cluster.nodes.ban(NAME, actor), peer.hello(), node.renew()]);
  expect(await cluster.cluster.nodes.show(NAME)).toMatchObject({ status: "Banned" });
  expect(await greetingOf(cluster, next)).toBe("NODE_BANNED");
  expect(await peer.end()).toMatchObject({ by: "peer" });
});

test("an older certificate raises an alarm: in the audit log, once a minute, and in the node's conditions", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const renewed = await TestPeer.dial(cluster, await node.renew());
  await renewed.hello();
  await renewed.register();
  const { serialNumber } = node.identity!.answer;
  expect(await greetingOf(cluster, node.identity)).toBe("CERTIFICATE_REVOKED");
  expect(await greetingOf(cluster, node.identity)).toBe("CERTIFICATE_REVOKED");
  // The refusal does not wait for its record.
  await vi.waitFor(() =>
    expect(audited(cluster, "node.clone-alarm")).toMatchObject([
      { outcome: "done", fields: { serialNumber, quarantined: false } },
    ]),
  );
  const { conditions } = await cluster.cluster.nodes.show(NAME);
  expect(conditions).toContainEqual(expect.objectContaining({ type: "CloneSuspected", status: "True" }));
  cluster.clock.advance(60_000);
  expect(await greetingOf(cluster, node.identity)).toBe("CERTIFICATE_REVOKED");
  await vi.waitFor(() => expect(audited(cluster, "node.clone-alarm")).toHaveLength(2));
  expect(await renewed.outcome({ type: "Heartbeat", status: aNodeStatus() })).toBe("Ack");
});

test("of two processes with one identity both are refused once the first comes back", async () => {
  await using cluster = await aCluster();
  const { first, second } = await aClonedNode(cluster);
  const back = await TestPeer.dial(cluster, first.identity);
  await back.hello();
  expect(await codeOf(back.register({ instanceId: "first" }))).toBe("CONNECTION_LOST");
  expect(await back.end()).toMatchObject({ by: "peer", code: CLOSE_CODES.IDENTITY_CLONED });
  expect(await second.end()).toMatchObject({ by: "peer", code: CLOSE_CODES.IDENTITY_CLONED });
  expect(await greetingOf(cluster, first.identity)).toBe("IDENTITY_CLONED");
  expect(await reasonOf(cluster, first.identity!)).toBe("certificateHold");
  const { status, conditions } = await cluster.cluster.nodes.show(NAME);
  expect(status).toBe("Banned");
  expect(conditions).toContainEqual(
    expect.objectContaining({ type: "CloneSuspected", reason: "TwoProcesses" }),
  );
});

test("a copy does not hide by not saying which process it is", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node(NAME);
  const registerAs = async (instanceId?: string): Promise<string> => {
    const peer = await TestPeer.dial(cluster, node.identity);
    await peer.hello();
    return codeOf(peer.register(instanceId === undefined ? {} : { instanceId }));
  };
  expect(await registerAs("right")).toBe("done");
  expect(await registerAs()).toBe("done");
  expect(await registerAs("right")).toBe("CONNECTION_LOST");
  expect(await greetingOf(cluster, node.identity)).toBe("IDENTITY_CLONED");
});

test("one process that connects again and again with its identity is no clone", async () => {
  await using cluster = await aCluster();
  const node = await cluster.node(NAME);
  await node.hello();
  await node.register({ instanceId: "only" });
  for (let i = 0; i < 3; i++) {
    const again = await TestPeer.dial(cluster, node.identity);
    await again.hello();
    await again.register({ instanceId: "only" });
  }
  expect(await cluster.cluster.nodes.show(NAME)).toMatchObject({ status: "Ready", refusedBecause: null });
});

test("a rejoin with a new key ends the doubt about a node, its old key does not", async () => {
  await using cluster = await aCluster();
  const { first } = await aClonedNode(cluster);
  const back = await TestPeer.dial(cluster, first.identity);
  await back.hello();
  await codeOf(back.register({ instanceId: "first" }));
  const { token } = await cluster.cluster.nodes.rejoin(NAME, actor);
  const withKey = (key = aKey()): Promise<TestIdentity> =>
    TestPeer.join(cluster, { token: token.reveal(), nodeName: NAME, key });
  expect(await codeOf(withKey(first.identity!.key))).toBe("IDENTITY_CLONED");
  const fresh = await TestPeer.dial(cluster, await withKey());
  await fresh.hello();
  await fresh.register({ instanceId: "third" });
  expect(await greetingOf(cluster, first.identity)).toBe("CERTIFICATE_REVOKED");
  expect(await cluster.cluster.nodes.show(NAME)).toMatchObject({ status: "Ready", refusedBecause: null });
  expect(await reasonOf(cluster, first.identity!)).toBe("superseded");
});

test("unban ends the doubt as well, and a copy that is still there is found again", async () => {
  await using cluster = await aCluster();
  const { first } = await aClonedNode(cluster);
  const comeBack = async (instanceId: string): Promise<string> => {
    const peer = await TestPeer.dial(cluster, first.identity);
    await peer.hello();
    return codeOf(peer.register({ instanceId }));
  };
  expect(await comeBack("first")).toBe("CONNECTION_LOST");
  expect(await greetingOf(cluster, first.identity)).toBe("IDENTITY_CLONED");
  await cluster.cluster.nodes.unban(NAME, actor);
  expect(await comeBack("first")).toBe("done");
  expect(await comeBack("second")).toBe("done");
  expect(await comeBack("first")).toBe("CONNECTION_LOST");
  expect(await greetingOf(cluster, first.identity)).toBe("IDENTITY_CLONED");
});

test("the operator's demand to renew reaches the node over its connection", async () => {
  await using cluster = await aCluster();
  expect(await codeOf(cluster.cluster.nodes.requireRenewal(NAME, { ...actor, reason: "x" }))).toBe(
    "NOT_FOUND",
  );
  const node = await cluster.registeredNode(NAME);
  const asked = cluster.cluster.nodes.requireRenewal(NAME, { ...actor, reason: "a drill" });
  expect(await node.acknowledge()).toEqual({ type: "RenewalRequired", reason: "a drill" });
  await asked;
  expect(audited(cluster, "node.renew")).toMatchObject([{ outcome: "done", fields: { reason: "a drill" } }]);
  await node.connection.close();
  await node.end();
  await expect
    .poll(() => codeOf(cluster.cluster.nodes.requireRenewal(NAME, { ...actor, reason: "again" })))
    .toBe("UNAVAILABLE");
});
