import { CLOSE_CODES, RksError } from "@rk8s/protocol";
import { aPodManifest } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { actor } from "./testing/a-cluster.js";
import { oneStore } from "./testing/clusters-on-one-store.js";
import { TestPeer } from "./testing/test-peer.js";

/** Deep enough for what a change takes from one to the other. */
const SOON = { timeout: 2_000, interval: 5 };

test("a token that is made by one lets a node join at the other", async () => {
  const store = await oneStore();
  await using one = await store.open();
  await using other = await store.open();
  const identity = await TestPeer.join(other.cluster, { token: await one.cluster.token(), nodeName: "w1" });
  const node = await TestPeer.dial(one.cluster, identity);
  await node.hello();
  await node.register();
  expect(await one.cluster.cluster.nodes.show("w1")).toMatchObject({ status: "Ready", isConnected: true });
  await expect.poll(async () => (await other.cluster.cluster.nodes.show("w1")).status, SOON).toBe("Ready");
});

test("a token for one use that meets both at once is used once", async () => {
  const store = await oneStore();
  await using one = await store.open();
  await using other = await store.open();
  for (let round = 0; round < 8; round += 1) {
    const token = await one.cluster.token();
    const outcomes = await Promise.allSettled([
      TestPeer.join(one.cluster, { token, nodeName: `a${round}` }),
      TestPeer.join(other.cluster, { token, nodeName: `b${round}` }),
    ]);
    const refusals = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [RksError.from(outcome.reason).code] : [],
    );
    expect(refusals).toEqual(["JOIN_TOKEN_USED"]);
  }
  expect(await one.cluster.cluster.nodes.list()).toHaveLength(8);
});

test("a node moves from one to the other with its certificate, and the first lets it go", async () => {
  const store = await oneStore();
  await using one = await store.open();
  await using other = await store.open();
  const before = await one.cluster.registeredNode("w1");
  const after = await TestPeer.dial(other.cluster, before.identity);
  await after.hello();
  await after.register();
  expect((await before.end()).code).toBe(CLOSE_CODES.CONFLICT);
  expect(await other.cluster.cluster.nodes.show("w1")).toMatchObject({ status: "Ready", isConnected: true });
  await expect
    .poll(() => one.cluster.cluster.nodes.show("w1"), SOON)
    .toMatchObject({ status: "Ready", isConnected: true });
  await expect(
    one.cluster.cluster.nodes.requireRenewal("w1", { ...actor, reason: "test" }),
  ).rejects.toMatchObject({
    code: "UNAVAILABLE",
    suggestion: expect.stringContaining("--rks-address 192.0.2.1:"),
  });
});

test.each([
  ["banned", "NODE_BANNED", "ban"],
  ["evicted", "NODE_EVICTED", "evict"],
] as const)("a node that is %s at one loses its connection to the other", async (_, code, verb) => {
  const store = await oneStore();
  await using one = await store.open();
  await using other = await store.open();
  const node = await one.cluster.registeredNode("w1");
  await other.cluster.cluster.nodes[verb]("w1", actor);
  expect((await node.end()).code).toBe(CLOSE_CODES[code]);
  const again = await TestPeer.dial(one.cluster, node.identity);
  expect(await again.outcome({ type: "Hello", versions: [1], features: [], nonce: new Uint8Array(32) })).toBe(
    code,
  );
});

test("an operator whose token is revoked at one loses the connection to the other", async () => {
  const store = await oneStore();
  await using one = await store.open();
  await using other = await store.open();
  const operator = await one.cluster.operator();
  const [token] = await other.cluster.cluster.joinTokens.list();
  await other.cluster.cluster.joinTokens.revoke(token!.id, actor);
  expect((await operator.end()).code).toBe(CLOSE_CODES.JOIN_TOKEN_REVOKED);
});

test("a pod that is applied at one is started and deleted by the one that has the node", async () => {
  const store = await oneStore();
  await using one = await store.open();
  await using other = await store.open();
  const node = await one.cluster.registeredNode("w1");
  const pod = await other.cluster.cluster.pods.apply(aPodManifest({ name: "web" }));
  expect(pod.spec.nodeName).toBe("w1");
  expect(await node.acknowledge()).toMatchObject({ type: "CreatePod", pod: { metadata: { name: "web" } } });
  await other.cluster.cluster.pods.delete({ namespace: "default", name: "web" });
  expect(await node.acknowledge()).toMatchObject({ type: "DeletePod", name: "web" });
  await expect.poll(async () => (await other.cluster.cluster.pods.list()).pods, SOON).toEqual([]);
});

test("the nodes of one that is gone are judged by the other, after the grace, and no sooner", async () => {
  const store = await oneStore();
  await using other = await store.open();
  const one = await store.open();
  await expect.poll(() => other.membership.isHeld, SOON).toBe(true);
  await one.cluster.registeredNode("w1");
  await one.cluster.registeredNode("w2");
  await one[Symbol.asyncDispose]();
  const statusOf = async (name: string): Promise<string> =>
    (await other.cluster.cluster.nodes.show(name)).status;
  await expect
    .poll(async () => {
      other.clock.advance(500);
      return statusOf("w1");
    }, SOON)
    .toBe("Unknown");
});

test("a copy of a node's process is found out whichever it turns to", async () => {
  const store = await oneStore();
  await using one = await store.open();
  await using other = await store.open();
  const first = await one.cluster.node("w1");
  await first.hello();
  await first.register({ instanceId: "the first" });
  const copy = await TestPeer.dial(other.cluster, first.identity);
  await copy.hello();
  await copy.register({ instanceId: "the copy" });
  await first.end();
  const back = await TestPeer.dial(one.cluster, first.identity);
  await back.hello();
  await back.register({ instanceId: "the first" }).catch(() => undefined);
  expect((await back.end()).code).toBe(CLOSE_CODES.IDENTITY_CLONED);
  expect((await copy.end()).code).toBe(CLOSE_CODES.IDENTITY_CLONED);
});

test("one that was silent for too long writes nothing until it has another place, and then goes on", async () => {
  const store = await oneStore();
  await using one = await store.open();
  await using other = await store.open();
  await expect.poll(() => one.membership.isHeld || other.membership.isHeld, SOON).toBe(true);
  const [steward, idle] = one.membership.isHeld ? [one, other] : [other, one];
  const before = steward.membership.id;
  // The steward is frozen: its clock stands still, while the other one's goes on.
  await expect
    .poll(() => {
      idle.clock.advance(1_000);
      return idle.membership.isHeld;
    }, SOON)
    .toBe(true);
  await expect(steward.cluster.cluster.joinTokens.create({}, actor)).rejects.toMatchObject({
    code: "UNAVAILABLE",
  });
  await expect
    .poll(() => {
      steward.clock.advance(1_000);
      return steward.membership.id;
    }, SOON)
    .not.toBe(before);
  await expect
    .poll(
      async () =>
        steward.cluster.cluster.joinTokens.create({}, actor).then(
          () => "made",
          () => "refused",
        ),
      SOON,
    )
    .toBe("made");
  const token = await steward.cluster.token();
  await TestPeer.join(idle.cluster, { token, nodeName: "w1" });
});
