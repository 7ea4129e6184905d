import { MESSAGE_SCHEMAS, type MessageType, type RksMessage } from "@rk8s/protocol";
import { aNodeStatus, aPodManifest } from "@rk8s/protocol/testing";
import { describe, expect, test } from "vitest";
import { DISPATCH_TABLE } from "./dispatch-table.js";
import { actor, aCluster, type TestCluster } from "./testing/a-cluster.js";
import { EXAMPLES } from "./testing/example-messages.js";
import { TestPeer } from "./testing/test-peer.js";

const TYPES = Object.keys(MESSAGE_SCHEMAS) as MessageType[];
const HOUR_MS = 3_600_000;

test("every message of an operator asks his policies, and no other does", () => {
  const asking = TYPES.filter((type) => DISPATCH_TABLE[type].asks !== undefined);
  const operators = TYPES.filter((type) =>
    (DISPATCH_TABLE[type].who as readonly string[]).includes("operator"),
  );
  expect(asking).toEqual(operators.filter((type) => type !== "Hello"));
});

async function outcomes(peer: TestPeer): Promise<Map<MessageType, string>> {
  const found = new Map<MessageType, string>();
  for (const type of TYPES) found.set(type, await peer.outcome(EXAMPLES[type]));
  return found;
}

/** A peer with a certificate that was good, and the code that all its messages get. */
const FALLEN: readonly {
  readonly name: string;
  readonly code: string;
  readonly peer: (cluster: TestCluster) => Promise<TestPeer>;
}[] = [
  {
    name: "a banned node",
    code: "NODE_BANNED",
    peer: async (cluster) => {
      const { identity } = await cluster.registeredNode("worker-1");
      await cluster.cluster.nodes.ban("worker-1", actor);
      return TestPeer.dial(cluster, identity);
    },
  },
  {
    name: "an evicted node",
    code: "NODE_EVICTED",
    peer: async (cluster) => {
      const { identity } = await cluster.registeredNode("worker-1");
      await cluster.cluster.nodes.evict("worker-1", actor);
      return TestPeer.dial(cluster, identity);
    },
  },
  {
    name: "a node whose certificate expired",
    code: "CERTIFICATE_EXPIRED",
    peer: async (cluster) => {
      const { identity } = await cluster.registeredNode("worker-1");
      cluster.clock.advance(2 * HOUR_MS);
      return TestPeer.dial(cluster, identity);
    },
  },
  {
    name: "an operator whose token was revoked",
    code: "JOIN_TOKEN_REVOKED",
    peer: async (cluster) => {
      const { identity } = await cluster.operator();
      const [token] = await cluster.cluster.joinTokens.list();
      await cluster.cluster.joinTokens.revoke(token!.id, actor);
      return TestPeer.dial(cluster, identity);
    },
  },
  {
    name: "an operator whose certificate expired",
    code: "CERTIFICATE_EXPIRED",
    peer: async (cluster) => {
      const { identity } = await cluster.operator();
      cluster.clock.advance(HOUR_MS);
      return TestPeer.dial(cluster, identity);
    },
  },
];

test.each(FALLEN)("every message of $name is $code, Hello too", async ({ peer, code }) => {
  await using cluster = await aCluster();
  const found = await outcomes(await peer(cluster));
  expect([...found].filter(([, outcome]) => outcome !== code)).toEqual([]);
});

test("whoever has a certificate of another cluster gets no connection", async () => {
  await using cluster = await aCluster();
  await using foreign = await aCluster();
  await cluster.registeredNode("worker-1");
  for (const { identity } of [await foreign.node("worker-1"), await foreign.operator()]) {
    const attempt = TestPeer.dial(cluster, identity).then((peer) => peer.hello());
    await expect(attempt).rejects.toThrow("does not end in a trusted root");
  }
});

describe("node A on what is B's", () => {
  const B = "worker-2";
  const ABOUT_B: readonly { readonly name: string; readonly message: RksMessage }[] = [
    {
      name: "registers as B",
      message: { type: "RegisterNode", nodeName: B, version: "1", status: aNodeStatus(), pods: [] },
    },
    { name: "reads B", message: { type: "GetNode", name: B } },
    { name: "lists nodes", message: { type: "ListNodes" } },
    { name: "reads B's pod", message: { type: "GetPod", namespace: "default", name: "web" } },
    { name: "lists pods", message: { type: "ListPods" } },
    {
      name: "reads the logs of B's pod",
      message: { type: "GetPodLogs", namespace: "default", name: "web", follow: false },
    },
    { name: "deletes B's pod", message: { type: "DeletePod", namespace: "default", name: "web" } },
    { name: "applies a pod for B", message: { type: "ApplyPod", manifest: aPodManifest() } },
  ];
  test.each(ABOUT_B)("$name: PERMISSION_DENIED", async ({ message }) => {
    await using cluster = await aCluster();
    const a = await cluster.registeredNode("worker-1");
    expect(await a.outcome(message)).toBe("PERMISSION_DENIED");
  });

  test("it reports no status of B's pod, and what it reports of itself changes nothing of B", async () => {
    await using cluster = await aCluster();
    const b = await cluster.registeredNode(B);
    const operator = await cluster.operator();
    await operator.ask({ type: "ApplyPod", manifest: aPodManifest() }, "Pod");
    await b.acknowledge();
    const a = await cluster.registeredNode("worker-1");
    const { pod } = await operator.ask({ type: "GetPod", namespace: "default", name: "web" }, "Pod");
    expect(pod.spec.nodeName).toBe(B);
    const { uid } = pod.metadata;
    const status = { ...pod.status, phase: "Failed" as const };
    const report: RksMessage = { type: "UpdatePodStatus", namespace: "default", name: "web", uid, status };
    expect(await a.outcome(report)).toBe("PERMISSION_DENIED");
    expect(await a.outcome({ type: "NodeStopping", reason: "" })).toBe("Ack");
    const after = await operator.ask({ type: "GetPod", namespace: "default", name: "web" }, "Pod");
    expect(after.pod.status).toEqual(pod.status);
    expect(await cluster.cluster.nodes.show(B)).toMatchObject({ status: "Ready" });
  });
});

describe("an operator with a narrow policy", () => {
  const NARROW = `
    path "rk8s/nodes" { capabilities = ["list"] }
    path "rk8s/pods/default" { capabilities = ["list"] }
    path "rk8s/pods/default/web" { capabilities = ["read", "update"] }
  `;
  /** What it gets beside PERMISSION_DENIED. */
  const ALLOWED: Readonly<Partial<Record<MessageType, string>>> = {
    Hello: "Welcome",
    ApplyPod: "Pod",
    GetPod: "Pod",
    ListNodes: "NodeList",
  };

  async function narrow(cluster: TestCluster): Promise<TestPeer> {
    await cluster.policies.write("narrow", NARROW);
    return cluster.operator(["narrow"]);
  }

  test("may what it says and nothing else", async () => {
    await using cluster = await aCluster();
    const peer = await narrow(cluster);
    await peer.ask(EXAMPLES.ApplyPod, "Pod");
    const found = await outcomes(peer);
    for (const type of TYPES)
      expect([type, found.get(type)]).toEqual([type, ALLOWED[type] ?? "PERMISSION_DENIED"]);
    expect(await peer.outcome({ type: "ListPods", namespace: "default" })).toBe("PodList");
    expect(await peer.outcome({ type: "ListPods", namespace: "other" })).toBe("PERMISSION_DENIED");
    expect(await peer.outcome({ type: "GetPod", namespace: "default", name: "webs" })).toBe(
      "PERMISSION_DENIED",
    );
  });

  test("is asked with every message: a change of the policy counts at once", async () => {
    await using cluster = await aCluster();
    const peer = await narrow(cluster);
    expect(await peer.outcome({ type: "ListNodes" })).toBe("NodeList");
    await cluster.policies.write("narrow", "");
    expect(await peer.outcome({ type: "ListNodes" })).toBe("PERMISSION_DENIED");
    await cluster.policies.delete("narrow");
    expect(await peer.outcome({ type: "ListNodes" })).toBe("PERMISSION_DENIED");
  });

  test("a policy that there is not, root, and policies for a node are refused when the token is made", async () => {
    await using cluster = await aCluster();
    const { joinTokens } = cluster.cluster;
    const create = (request: object): Promise<unknown> => joinTokens.create(request, actor);
    await expect(create({ role: "operator", policies: ["none"] })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    await expect(create({ role: "operator", policies: ["ROOT"] })).rejects.toMatchObject({
      code: "INPUT_INVALID",
    });
    await expect(create({ role: "operator", policies: [] })).rejects.toMatchObject({ code: "INPUT_INVALID" });
    await expect(create({ policies: ["operator"] })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  });
});

test("all that an operator does is in the audit log with who asked and how it ended", async () => {
  await using cluster = await aCluster();
  await cluster.policies.write("narrow", 'path "rk8s/pods/default/*" { capabilities = ["read", "update"] }');
  const operator = await cluster.operator(["narrow"]);
  const [token] = await cluster.cluster.joinTokens.list();
  cluster.audit.lines.length = 0;
  await operator.outcome(EXAMPLES.ApplyPod);
  await operator.outcome(EXAMPLES.GetPod);
  await operator.outcome({ type: "GetPod", namespace: "default", name: "none" });
  await operator.outcome(EXAMPLES.DeletePod);
  const who = `operator ${token!.id}`;
  expect(
    cluster.audit.lines.map(({ type, operation, outcome, ...line }) => [
      line.actor,
      type,
      operation,
      outcome,
    ]),
  ).toEqual([
    [who, "intent", "pod.apply", undefined],
    [who, "result", "pod.apply", "done"],
    [who, "result", "operator.read", "done"],
    [who, "result", "operator.read", "failed"],
    [who, "result", "operator.delete", "refused"],
  ]);
});

test("an audit log that cannot be written keeps an operator from changing, not from looking", async () => {
  await using cluster = await aCluster();
  const operator = await cluster.operator();
  cluster.audit.broken = "intents";
  expect(await operator.outcome(EXAMPLES.ApplyPod)).toBe("AUDIT_UNWRITABLE");
  cluster.audit.broken = "results";
  expect(await operator.outcome(EXAMPLES.ListPods)).toBe("PodList");
});
