import { CLOSE_CODES, LIMITS, type Message, MessageStream, RksError } from "@rk8s/protocol";
import { aPodManifest, aPodStatus } from "@rk8s/protocol/testing";
import { describe, expect, test, vi } from "vitest";
import { aCluster, actor } from "./testing/a-cluster.js";
import { TestPeer } from "./testing/test-peer.js";

const web = { namespace: "default", name: "web" };

describe("apply", () => {
  test("goes to the Ready node with the fewest pods and is sent there", async () => {
    await using cluster = await aCluster();
    const nodes = [await cluster.registeredNode("worker-1"), await cluster.registeredNode("worker-2")];
    const { pods } = cluster.cluster;
    const placed: unknown[] = [];
    for (const name of ["a", "b", "c", "d"]) {
      placed.push((await pods.apply(aPodManifest({ name }))).spec.nodeName);
    }
    expect(placed).toEqual(["worker-1", "worker-2", "worker-1", "worker-2"]);
    for (const node of nodes) {
      const names = [await node.acknowledge(), await node.acknowledge()].map((message) =>
        message.type === "CreatePod" ? message.pod.metadata.name : message.type,
      );
      expect(names.toSorted()).toEqual(node === nodes[0] ? ["a", "c"] : ["b", "d"]);
    }
  });

  test("100 at the same instant are spread evenly", async () => {
    await using cluster = await aCluster();
    for (let i = 1; i <= 4; i++) await cluster.registeredNode(`worker-${i}`);
    const { pods } = cluster.cluster;
    const applied = await Promise.all(
      Array.from({ length: 100 }, (_, i) => pods.apply(aPodManifest({ name: `pod-${i}` }))),
    );
    const counts = new Map<string | undefined, number>();
    for (const { spec } of applied) counts.set(spec.nodeName, (counts.get(spec.nodeName) ?? 0) + 1);
    expect([...counts.values()]).toEqual([25, 25, 25, 25]);
  });

  test("the same manifest again changes nothing; another one is refused", async () => {
    await using cluster = await aCluster();
    await cluster.registeredNode("worker-1");
    const { pods } = cluster.cluster;
    const first = await pods.apply(aPodManifest());
    expect(await pods.apply(aPodManifest())).toEqual(first);
    const other = pods.apply(aPodManifest({ command: ["true"] }));
    await expect(other).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  });

  test("a manifest that is too large is refused", async () => {
    await using cluster = await aCluster();
    const operator = await cluster.operator();
    const argument = "x".repeat(131_072);
    const manifest = aPodManifest({ command: [argument, argument, argument, argument] });
    expect(await operator.outcome({ type: "ApplyPod", manifest })).toBe("MESSAGE_TOO_LARGE");
    expect((await cluster.cluster.pods.list()).pods).toEqual([]);
  });

  test("a node that grants no streams any more is made to connect again", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1", { maxIncomingStreams: 1 });
    await cluster.cluster.pods.apply(aPodManifest({ name: "first" }));
    await node.nextRequest();
    await cluster.cluster.pods.apply(aPodManifest({ name: "second" }));
    for (let i = 0; i < 4; i++) await cluster.clock.nextSleep();
    cluster.clock.advance(LIMITS.requestTimeoutMs);
    expect(await node.end()).toMatchObject({ by: "peer", code: CLOSE_CODES.TIMED_OUT });
  });

  test("without a Ready node it waits, says why, and starts when a node registers", async () => {
    await using cluster = await aCluster();
    const { pods } = cluster.cluster;
    expect(await pods.apply(aPodManifest())).toMatchObject({
      spec: expect.not.objectContaining({ nodeName: expect.anything() as unknown }) as unknown,
      status: { phase: "Pending", reason: "Unschedulable", message: "none of 0 nodes is Ready" },
    });
    const node = await cluster.registeredNode("worker-1");
    expect(await node.acknowledge()).toMatchObject({ type: "CreatePod", pod: { metadata: web } });
    expect((await pods.get(web)).status).toEqual(aPodStatus());
  });

  test("a node name is honoured, also before that node exists", async () => {
    await using cluster = await aCluster();
    await cluster.registeredNode("worker-1");
    const pod = await cluster.cluster.pods.apply(aPodManifest({ nodeName: "worker-2" }));
    expect(pod.spec.nodeName).toBe("worker-2");
    const node = await cluster.registeredNode("worker-2");
    expect(await node.acknowledge()).toMatchObject({ type: "CreatePod" });
  });

  test("a node that refuses a pod for good ends it, with the reason", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.pods.apply(aPodManifest());
    const { stream } = await node.nextRequest();
    await stream.send({ type: "Error", code: "POD_INVALID", message: "no command", retryable: false });
    stream.end();
    await vi.waitFor(async () => {
      expect((await cluster.cluster.pods.get(web)).status).toMatchObject({
        phase: "Failed",
        reason: "POD_INVALID",
        message: "no command",
      });
    });
  });

  test("a node that is busy is asked again", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.pods.apply(aPodManifest());
    const { stream } = await node.nextRequest();
    await stream.send({ type: "Error", code: "BUSY", message: "", retryable: true });
    stream.end();
    const again = node.acknowledge();
    await vi.waitFor(() => {
      cluster.clock.advance(5_000);
      return Promise.race([again, Promise.reject(new Error("not asked yet"))]);
    });
    expect(await again).toMatchObject({ type: "CreatePod" });
  });
});

describe("status", () => {
  test("comes from the node that has the pod", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const { uid } = (await cluster.cluster.pods.apply(aPodManifest())).metadata;
    const status = aPodStatus({ phase: "Running" });
    await node.ask({ type: "UpdatePodStatus", ...web, uid, status }, "Ack");
    expect((await cluster.cluster.pods.get(web)).status).toEqual(status);
  });

  test("from any other node is refused", async () => {
    await using cluster = await aCluster();
    await cluster.registeredNode("worker-1");
    const { uid } = (await cluster.cluster.pods.apply(aPodManifest())).metadata;
    const other = await cluster.registeredNode("worker-2");
    const update = { type: "UpdatePodStatus", ...web, uid, status: aPodStatus({ phase: "Failed" }) } as const;
    expect(await other.outcome(update)).toBe("PERMISSION_DENIED");
    expect((await cluster.cluster.pods.get(web)).status.phase).toBe("Pending");
  });

  test("of a pod that is gone is acknowledged, and the node is told to drop it", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await node.ask({ type: "UpdatePodStatus", ...web, uid: "old", status: aPodStatus() }, "Ack");
    expect(await node.acknowledge()).toMatchObject({ type: "DeletePod", ...web, uid: "old" });
  });
});

describe("a node that goes wild", () => {
  test("with status reports is told to slow down", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const { uid } = (await cluster.cluster.pods.apply(aPodManifest())).metadata;
    const outcomes: string[] = [];
    for (let i = 0; i < 501; i++) {
      const status = aPodStatus({ phase: "Running", message: String(i) });
      outcomes.push(await node.outcome({ type: "UpdatePodStatus", ...web, uid, status }));
    }
    expect(outcomes.filter((outcome) => outcome === "Ack")).toHaveLength(499);
    expect(outcomes.at(-1)).toBe("BUSY");
    cluster.clock.advance(1000);
    const status = aPodStatus({ phase: "Running" });
    await node.ask({ type: "UpdatePodStatus", ...web, uid, status }, "Ack");
  });
});

describe("registration", () => {
  test("succeeds while the disk is full; pods are compared all the same", async () => {
    await using cluster = await aCluster();
    const node = await cluster.node("worker-1");
    await node.hello();
    const { uid } = (await cluster.cluster.pods.apply(aPodManifest({ nodeName: "worker-1" }))).metadata;
    cluster.storage.fault = new RksError("STORAGE_FULL", "the test filled the disk");
    const running = aPodStatus({ phase: "Running" });
    await node.register({
      pods: [
        { ...web, uid, status: running },
        { namespace: "default", name: "strange", uid: "strange", status: running },
      ],
    });
    expect(await node.acknowledge()).toMatchObject({ type: "DeletePod", uid: "strange" });
    expect((await cluster.cluster.nodes.list())[0]?.status).toBe("Ready");
  });

  test("sends what is missing, removes what does not belong, leaves what is there", async () => {
    await using cluster = await aCluster();
    const { pods } = cluster.cluster;
    for (const name of ["kept", "missing"]) await pods.apply(aPodManifest({ name, nodeName: "worker-1" }));
    const kept = (await pods.get({ namespace: "default", name: "kept" })).metadata.uid;
    const node = await cluster.node("worker-1");
    await node.hello();
    const running = aPodStatus({ phase: "Running" });
    await node.register({
      pods: [
        { namespace: "default", name: "kept", uid: kept, status: running },
        { namespace: "default", name: "strange", uid: "strange", status: running },
      ],
    });
    const messages = [await node.acknowledge(), await node.acknowledge()];
    expect(messages.map(({ type }) => type).toSorted()).toEqual(["CreatePod", "DeletePod"]);
    expect(messages).toContainEqual(expect.objectContaining({ type: "DeletePod", uid: "strange" }));
    expect((await pods.get({ namespace: "default", name: "kept" })).status).toEqual(running);
  });

  test("a pod deleted while its node was away is removed when it is back", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const { uid } = (await cluster.cluster.pods.apply(aPodManifest())).metadata;
    await node.acknowledge();
    await node.connection.close();
    await vi.waitFor(async () => expect(await connected(cluster.cluster)).toBe(false));
    await cluster.cluster.pods.delete(web);
    expect((await cluster.cluster.pods.get(web)).metadata.deletionTimestamp).toBeDefined();
    const again = await TestPeer.dial(cluster, node.identity);
    await again.hello();
    await again.register({ pods: [{ ...web, uid, status: aPodStatus({ phase: "Running" }) }] });
    expect(await again.acknowledge()).toMatchObject({ type: "DeletePod", uid });
    await vi.waitFor(async () => {
      await expect(cluster.cluster.pods.get(web)).rejects.toMatchObject({ code: "NOT_FOUND" });
    });
  });
});

describe("delete", () => {
  test("marks the pod, tells the node with the grace asked for, and forgets it when the node has", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const { uid } = (await cluster.cluster.pods.apply(aPodManifest())).metadata;
    await node.acknowledge();
    await cluster.cluster.pods.delete(web, { gracePeriodSeconds: 7 });
    await cluster.cluster.pods.delete(web, { uid });
    const { message, stream } = await node.nextRequest();
    expect(message).toMatchObject({ type: "DeletePod", ...web, uid, gracePeriodSeconds: 7 });
    await expect(cluster.cluster.pods.apply(aPodManifest())).rejects.toMatchObject({ code: "CONFLICT" });
    await stream.send({ type: "Ack" });
    stream.end();
    await vi.waitFor(async () => {
      expect((await cluster.cluster.pods.list()).pods).toEqual([]);
    });
  });

  test.each([
    { name: "what is not there", options: {}, key: { namespace: "default", name: "other" } },
    { name: "another life of the pod", options: { uid: "other" }, key: web },
  ])("$name is NOT_FOUND", async ({ options, key }) => {
    await using cluster = await aCluster();
    await cluster.cluster.pods.apply(aPodManifest());
    await expect(cluster.cluster.pods.delete(key, options)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("waits for a pod that takes its time to stop, for as long as its grace", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.pods.apply(aPodManifest());
    await node.acknowledge();
    await cluster.cluster.pods.delete(web, { gracePeriodSeconds: 3000 });
    const { stream } = await node.nextRequest();
    cluster.clock.advance(3_000_000);
    await stream.send({ type: "Ack" });
    stream.end();
    await vi.waitFor(async () => {
      expect((await cluster.cluster.pods.list()).pods).toEqual([]);
    });
  });

  test("with a shorter grace reaches the node that still waits for the longer one", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.pods.apply(aPodManifest());
    await node.acknowledge();
    await cluster.cluster.pods.delete(web, { gracePeriodSeconds: 3600 });
    expect((await node.nextRequest()).message).toMatchObject({ gracePeriodSeconds: 3600 });
    await cluster.cluster.pods.delete(web, { gracePeriodSeconds: 1 });
    expect(await node.acknowledge()).toMatchObject({ type: "DeletePod", gracePeriodSeconds: 1 });
    await vi.waitFor(async () => {
      expect((await cluster.cluster.pods.list()).pods).toEqual([]);
    });
  });

  test("of many pods that take their time does not hold up what is to be started", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const names = Array.from({ length: 30 }, (_, i) => `slow-${i}`);
    for (const name of names) {
      await cluster.cluster.pods.apply(aPodManifest({ name }));
      await node.acknowledge();
    }
    for (const name of names) await cluster.cluster.pods.delete({ namespace: "default", name });
    for (let i = 0; i < 24; i++) expect((await node.nextRequest()).message.type).toBe("DeletePod");
    await cluster.cluster.pods.apply(aPodManifest());
    expect(await node.acknowledge()).toMatchObject({ type: "CreatePod", pod: { metadata: web } });
  });

  test("a pod that was never placed is gone at once", async () => {
    await using cluster = await aCluster();
    await cluster.cluster.pods.apply(aPodManifest());
    await cluster.cluster.pods.delete(web);
    await expect(cluster.cluster.pods.get(web)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("without grace a pod of a node that is away is gone at once", async () => {
    await using cluster = await aCluster();
    await cluster.node("worker-1");
    await cluster.cluster.pods.apply(aPodManifest({ nodeName: "worker-1" }));
    await cluster.cluster.pods.delete(web, { gracePeriodSeconds: 0 });
    await expect(cluster.cluster.pods.get(web)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("an evicted node's pods", () => {
  test("are lost when they ran, and go elsewhere when they did not", async () => {
    await using cluster = await aCluster();
    const first = await cluster.registeredNode("worker-1");
    const { pods } = cluster.cluster;
    const { uid } = (await pods.apply(aPodManifest({ name: "ran" }))).metadata;
    const status = aPodStatus({ phase: "Running" });
    await first.ask({ type: "UpdatePodStatus", namespace: "default", name: "ran", uid, status }, "Ack");
    await pods.apply(aPodManifest({ name: "waits" }));
    const second = await cluster.registeredNode("worker-2");
    await cluster.cluster.nodes.evict("worker-1", actor);
    expect(await second.acknowledge()).toMatchObject({
      type: "CreatePod",
      pod: { metadata: { name: "waits" } },
    });
    expect(await pods.get({ namespace: "default", name: "ran" })).toMatchObject({
      status: { phase: "Failed", reason: "NodeEvicted" },
    });
    await pods.delete({ namespace: "default", name: "ran" });
    expect((await pods.list()).pods.map(({ metadata }) => metadata.name)).toEqual(["waits"]);
  });
});

describe("lists", () => {
  test("of one namespace and of all, page by page", async () => {
    await using cluster = await aCluster();
    const operator = await cluster.operator();
    const { pods } = cluster.cluster;
    const argument = "x".repeat(130_000);
    for (const namespace of ["a", "b"]) {
      for (let i = 0; i < 4; i++) {
        const command = [argument, argument, argument];
        await pods.apply(aPodManifest({ namespace, name: `pod-${i}`, command }));
      }
    }
    const seen: string[] = [];
    let after: string | undefined;
    let pages = 0;
    do {
      const page: Message<"PodList"> = await operator.ask(
        { type: "ListPods", ...(after === undefined ? {} : { after }) },
        "PodList",
      );
      seen.push(...page.pods.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
      after = page.next;
      pages += 1;
    } while (after !== undefined);
    expect(pages).toBe(4);
    expect(seen).toEqual(["a", "b"].flatMap((namespace) => [0, 1, 2, 3].map((i) => `${namespace}/pod-${i}`)));
    const ofB = await operator.ask({ type: "ListPods", namespace: "b" }, "PodList");
    expect(ofB.pods.map(({ metadata }) => metadata.namespace)).toEqual(["b", "b"]);
  });
});

describe("logs", () => {
  const getLogs = { type: "GetPodLogs", ...web, follow: true } as const;

  test("are relayed chunk by chunk until the node ends", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.pods.apply(aPodManifest());
    await node.acknowledge();
    const operator = await cluster.operator();
    const logs = new MessageStream(await operator.connection.openStream());
    await logs.send({ ...getLogs, tailLines: 3 });
    logs.end();
    const { message, stream } = await node.nextRequest();
    expect(message).toEqual({ ...getLogs, tailLines: 3 });
    await stream.send({ type: "PodLogs", container: "main" });
    await stream.sendBytes(Buffer.from("one\n"));
    expect((await logs.receiveMessage()).message).toEqual({ type: "PodLogs", container: "main" });
    expect(await logs.receive()).toMatchObject({ kind: "bytes" });
    const sent = stream.sendBytes(new Uint8Array(200_000)).then(() => stream.end());
    let bytes = 0;
    for (;;) {
      const received = await logs.receive();
      if (received === undefined) break;
      if (received.kind === "bytes") bytes += received.bytes.length;
    }
    await sent;
    expect(bytes).toBe(200_000);
  });

  test("the node is read no faster than the operator reads", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.pods.apply(aPodManifest());
    await node.acknowledge();
    const operator = await cluster.operator();
    const logs = new MessageStream(await operator.connection.openStream());
    await logs.send(getLogs);
    const { stream } = await node.nextRequest();
    await stream.send({ type: "PodLogs", container: "main" });
    let sent = 0;
    const sending = (async () => {
      for (; sent < 1000; sent++) await stream.sendBytes(new Uint8Array(65_536));
    })();
    sending.catch(() => undefined);
    for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(sent).toBeLessThan(10);
    await operator.connection.close();
    await expect(sending).rejects.toMatchObject({ code: "STREAM_RESET" });
  });

  test.each([
    { name: "the node's own error", code: "NOT_FOUND", send: "error" },
    { name: "a node that goes away", code: "CONNECTION_LOST", send: "close" },
    { name: "a node that answers nonsense", code: "MESSAGE_UNEXPECTED", send: "nonsense" },
  ])("$name is handed on", async ({ code, send }) => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.pods.apply(aPodManifest());
    await node.acknowledge();
    const operator = await cluster.operator();
    const outcome = operator.outcome(getLogs);
    const { stream } = await node.nextRequest();
    if (send === "error")
      await stream.send({ type: "Error", code: "NOT_FOUND", message: "", retryable: false });
    else if (send === "nonsense") await stream.send({ type: "Ack" });
    else await node.connection.close();
    expect(await outcome).toBe(code);
  });

  test("of a node that does not answer are given up", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.pods.apply(aPodManifest());
    await node.acknowledge();
    const operator = await cluster.operator();
    const outcome = operator.outcome(getLogs);
    await node.nextRequest();
    cluster.clock.advance(LIMITS.requestTimeoutMs);
    expect(await outcome).toBe("TIMED_OUT");
  });

  test("of a pod that is nowhere are not there yet", async () => {
    await using cluster = await aCluster();
    const operator = await cluster.operator();
    expect(await operator.outcome(getLogs)).toBe("NOT_FOUND");
    await cluster.cluster.pods.apply(aPodManifest());
    expect(await operator.outcome(getLogs)).toBe("UNAVAILABLE");
  });
});

async function connected(cluster: {
  nodes: { show(name: string): Promise<{ isConnected: boolean }> };
}): Promise<boolean> {
  return (await cluster.nodes.show("worker-1")).isConnected;
}
