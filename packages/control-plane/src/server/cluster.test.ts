import { CLOSE_CODES, LIMITS, MessageStream, RksError } from "@rk8s/protocol";
import { aHello, aNodeStatus } from "@rk8s/protocol/testing";
import { describe, expect, test } from "vitest";
import { aKey } from "../join/testing/a-request.js";
import { aCluster, actor } from "./testing/a-cluster.js";
import { TestPeer } from "./testing/test-peer.js";

describe("a whole join", () => {
  test("Hello, CertificateSign, mutual TLS, RegisterNode, Heartbeat, and the node is Ready", async () => {
    await using cluster = await aCluster();
    const node = await cluster.node("worker-1");
    expect(await node.hello()).toMatchObject({ version: 1, limits: { maxMessageBytes: 1_048_576 } });
    expect(await node.register()).toMatchObject({ heartbeatIntervalSeconds: 10, heartbeatGraceSeconds: 40 });
    await node.ask({ type: "Heartbeat", status: aNodeStatus() }, "Ack");
    expect(await cluster.cluster.nodes.list()).toEqual([
      {
        name: "worker-1",
        status: "Ready",
        address: "192.0.2.1",
        certificateSerial: node.identity!.answer.serialNumber,
        certificateNotAfter: node.identity!.answer.notAfter,
        lastHeartbeat: new Date(cluster.clock.now()).toISOString(),
        joinedAt: new Date(cluster.clock.now()).toISOString(),
        version: "1.2.3",
      },
    ]);
  });

  test("50 agents with one single-use token at the same instant: exactly one joins", async () => {
    await using cluster = await aCluster();
    const token = await cluster.token();
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const peer = await cluster.stranger();
        await peer.hello();
        return peer.outcome(peer.certificateSign({ token, nodeName: `worker-${i}` }));
      }),
    );
    expect(outcomes.filter((outcome) => outcome === "Certificate")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "JOIN_TOKEN_USED")).toHaveLength(49);
  });

  test("a lost reply: the same key gets the same bytes on another connection, another key nothing", async () => {
    await using cluster = await aCluster();
    const token = await cluster.token();
    const key = aKey();
    const lost = await cluster.stranger();
    await lost.hello();
    cluster.transport.inject({ from: "server", afterBytes: 10, effect: "lose" });
    expect(await lost.outcome(lost.certificateSign({ token, key, nodeName: "worker-1" }))).toBe(
      "CONNECTION_LOST",
    );
    const first = await TestPeer.join(cluster, { token, key, nodeName: "worker-1" });
    const second = await TestPeer.join(cluster, { token, key, nodeName: "worker-1" });
    expect(second.answer).toEqual(first.answer);
    const other = TestPeer.join(cluster, { token, nodeName: "worker-1" });
    await expect(other).rejects.toMatchObject({ code: "JOIN_TOKEN_USED" });
  });

  test("a full disk is a retryable error and burns no token", async () => {
    await using cluster = await aCluster();
    const token = await cluster.token();
    cluster.storage.fault = new RksError("STORAGE_FULL", "the test filled the disk");
    const join = TestPeer.join(cluster, { token, nodeName: "worker-1" });
    await expect(join).rejects.toMatchObject({ code: "STORAGE_FULL", retryable: true });
    cluster.storage.fault = undefined;
    await TestPeer.join(cluster, { token, nodeName: "worker-1" });
  });
});

describe("bootstrapping", () => {
  test("a CertificateSign that is replayed on another connection is refused", async () => {
    await using cluster = await aCluster();
    const first = await cluster.stranger();
    await first.hello();
    const recorded = first.certificateSign({ token: await cluster.token(), nodeName: "worker-1" });
    const other = await cluster.stranger();
    await other.hello();
    expect(await other.outcome(recorded)).toBe("JOIN_TOKEN_INVALID");
    expect(await first.outcome(recorded)).toBe("Certificate");
  });

  test("a nonce serves one CertificateSign, whatever became of it", async () => {
    await using cluster = await aCluster();
    const peer = await cluster.stranger();
    await peer.hello();
    const token = await cluster.token();
    expect(await peer.outcome(peer.certificateSign({ token, nodeName: "rks" }))).toBe("NODE_NAME_INVALID");
    expect(await peer.outcome(peer.certificateSign({ token, nodeName: "worker-1" }))).toBe("NONCE_EXPIRED");
    await peer.hello();
    expect(await peer.outcome(peer.certificateSign({ token, nodeName: "worker-1" }))).toBe("Certificate");
  });

  test("a nonce is good for ten seconds", async () => {
    await using cluster = await aCluster();
    const peer = await cluster.stranger();
    await peer.hello();
    cluster.clock.advance(LIMITS.nonceLifetimeMs + 1);
    const sign = peer.certificateSign({ token: await cluster.token(), nodeName: "worker-1" });
    expect(await peer.outcome(sign)).toBe("NONCE_EXPIRED");
  });

  test("a connection gets to try four times", async () => {
    await using cluster = await aCluster();
    const peer = await cluster.stranger();
    const token = await cluster.token();
    const outcomes: string[] = [];
    for (let i = 0; i < 5; i++) {
      await peer.hello();
      outcomes.push(await peer.outcome(peer.certificateSign({ token, nodeName: "rks" })));
    }
    expect(outcomes).toEqual([...Array<string>(4).fill("NODE_NAME_INVALID"), "BUSY"]);
  });

  test("a connection without a certificate is closed after 30 s", async () => {
    await using cluster = await aCluster();
    const peer = await cluster.stranger();
    await peer.hello();
    cluster.clock.advance(30_000);
    expect((await peer.end()).code).toBe(CLOSE_CODES.TIMED_OUT);
  });

  test("a fifth stream at a time is reset", async () => {
    await using cluster = await aCluster();
    const peer = await cluster.stranger();
    const streams = [];
    for (let i = 0; i < 5; i++) {
      const stream = await peer.connection.openStream();
      await stream.write(Uint8Array.of(0));
      streams.push(stream);
    }
    await expect(streams[4]!.read()).rejects.toMatchObject({ code: "STREAM_RESET" });
  });

  test("an unknown version is refused by name", async () => {
    await using cluster = await aCluster();
    const peer = await cluster.stranger();
    expect(await peer.outcome(aHello({ versions: [99] }))).toBe("VERSION_UNSUPPORTED");
  });

  test.each([
    { name: "garbage", bytes: Buffer.from("GET / HTTP/1.1\r\n\r\n"), code: "MESSAGE_TOO_LARGE" },
    { name: "an empty frame", bytes: Buffer.from([0, 0, 0, 0]), code: "FRAME_INVALID" },
    { name: "an unknown frame kind", bytes: Buffer.from([0, 0, 0, 1, 9]), code: "FRAME_INVALID" },
    { name: "raw bytes", bytes: Buffer.from([0, 0, 0, 2, 2, 7]), code: "MESSAGE_UNEXPECTED" },
    { name: "half a frame", bytes: Buffer.from([0, 0, 0, 9, 1]), code: "MESSAGE_TRUNCATED" },
    { name: "nothing", bytes: Buffer.from([]), code: "MESSAGE_TRUNCATED" },
    { name: "an unknown message", bytes: frame('{"Explode":{}}'), code: "MESSAGE_UNKNOWN" },
    { name: "a broken message", bytes: frame('{"Hello":{"versions":[]}}'), code: "MESSAGE_INVALID" },
    { name: "no JSON", bytes: frame("{"), code: "MESSAGE_INVALID" },
    { name: "17 KB", bytes: frame(" ".repeat(17_000)), code: "MESSAGE_TOO_LARGE" },
    { name: "1 MB", bytes: frame(" ".repeat(1_000_000)), code: "MESSAGE_TOO_LARGE" },
  ])("$name gets a coded error, and the connection goes on", async ({ bytes, code }) => {
    await using cluster = await aCluster();
    const peer = await cluster.stranger();
    const stream = await peer.connection.openStream();
    await stream.write(bytes);
    stream.end();
    const { message } = await new MessageStream(stream).receiveMessage();
    expect(message).toMatchObject({ type: "Error", code });
    await peer.hello();
  });

  test("a request that never arrives is given up after ten seconds", async () => {
    await using cluster = await aCluster();
    const peer = await cluster.stranger();
    const stream = await peer.connection.openStream();
    await stream.write(Uint8Array.of(0, 0));
    await peer.hello();
    cluster.clock.advance(LIMITS.requestTimeoutMs);
    const { message } = await new MessageStream(stream).receiveMessage();
    expect(message).toMatchObject({ type: "Error", code: "TIMED_OUT" });
  });

  test("those who only occupy connections lose them first", async () => {
    await using cluster = await aCluster();
    const first = await cluster.stranger();
    await first.hello();
    for (let i = 0; i < 512; i++) await cluster.stranger();
    const last = await cluster.stranger();
    await last.hello();
    expect((await first.end()).code).toBe(CLOSE_CODES.BUSY);
  });
});

describe("nodes", () => {
  test("a node registers under no other name than its certificate's", async () => {
    await using cluster = await aCluster();
    const node = await cluster.node("worker-1");
    await node.hello();
    await expect(node.register({ nodeName: "worker-2" })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });

  test("liveness: Ready, NotReady after the grace, Unknown after three, Ready again", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const status = async (): Promise<string | undefined> => (await cluster.cluster.nodes.list())[0]?.status;
    const heartbeat = { type: "Heartbeat", status: aNodeStatus() } as const;
    cluster.clock.advance(40_000);
    expect(await status()).toBe("Ready");
    cluster.clock.advance(1);
    expect(await status()).toBe("NotReady");
    cluster.clock.advance(80_000);
    expect(await status()).toBe("Unknown");
    await node.ask(heartbeat, "Ack");
    expect(await status()).toBe("Ready");
    await node.ask({ type: "NodeStopping", reason: "test" }, "Ack");
    expect(await status()).toBe("NotReady");
  });

  test("heartbeats write nothing", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await settle();
    cluster.clock.advance(1000);
    await settle();
    const { transactions } = cluster.storage;
    for (let i = 0; i < 20; i++) {
      await node.ask({ type: "Heartbeat", status: aNodeStatus() }, "Ack");
      cluster.clock.advance(10_000);
      await settle();
    }
    expect(cluster.storage.transactions).toBe(transactions);
  });

  test("a node that was evicted loses its connection and is told why when it comes back", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    await cluster.cluster.nodes.evict("worker-1", actor);
    expect(await node.end()).toMatchObject({
      code: CLOSE_CODES.NODE_EVICTED,
      reason: 'node "worker-1" was evicted',
    });
    const again = await TestPeer.dial(cluster, node.identity);
    await expect(again.hello()).rejects.toMatchObject({ code: "NODE_EVICTED" });
    expect(await cluster.cluster.nodes.list()).toEqual([]);
    await expect(cluster.cluster.nodes.show("worker-1")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await cluster.registeredNode("worker-1");
  });

  test("a rejoin keeps the node, ends the old connection and refuses the old certificate", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const before = await cluster.cluster.nodes.show("worker-1");
    const { token } = await cluster.cluster.nodes.rejoin("worker-1", actor);
    const identity = await TestPeer.join(cluster, { token: token.reveal() });
    expect((await node.end()).code).toBe(CLOSE_CODES.CERTIFICATE_REVOKED);
    const old = await TestPeer.dial(cluster, node.identity);
    await expect(old.hello()).rejects.toMatchObject({ code: "CERTIFICATE_REVOKED" });
    const fresh = await TestPeer.dial(cluster, identity);
    await fresh.hello();
    await fresh.register();
    expect(await cluster.cluster.nodes.show("worker-1")).toMatchObject({
      uid: before.uid,
      joinedAt: before.joinedAt,
      status: "Ready",
      certificateSerial: identity.answer.serialNumber,
    });
  });

  test("a connection lives no longer than its certificate", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    for (let i = 0; i < 60; i++) {
      await settle();
      cluster.clock.advance(60_000);
    }
    expect((await node.end()).code).toBe(CLOSE_CODES.CERTIFICATE_EXPIRED);
  });

  test("a restart of the control plane keeps nodes; their certificates still work", async () => {
    await using before = await aCluster();
    const node = await before.registeredNode("worker-1");
    await settle();
    await before.stop();
    expect((await node.end()).code).toBe(CLOSE_CODES.UNAVAILABLE);
    await using after = await aCluster({ storage: before.storage, clock: before.clock, ca: before.ca });
    expect(await after.cluster.nodes.list()).toMatchObject([
      { name: "worker-1", status: "Unknown", version: "1.2.3", address: "192.0.2.1" },
    ]);
    const again = await TestPeer.dial(after, node.identity);
    await again.hello();
    await again.register();
    expect(await after.cluster.nodes.list()).toMatchObject([{ status: "Ready" }]);
  });

  test("a newer connection that registers takes over, and the older is closed", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const newer = await TestPeer.dial(cluster, node.identity);
    await newer.hello();
    await newer.register();
    expect((await node.end()).code).toBe(CLOSE_CODES.CONFLICT);
    await newer.register();
    await newer.ask({ type: "Heartbeat", status: aNodeStatus() }, "Ack");
  });

  test("a connection with a certificate that never says Hello is closed after 30 s", async () => {
    await using cluster = await aCluster();
    const node = await cluster.node("worker-1");
    expect(await node.outcome(aHello({ versions: [99] }))).toBe("VERSION_UNSUPPORTED");
    cluster.clock.advance(30_000);
    expect((await node.end()).code).toBe(CLOSE_CODES.TIMED_OUT);
  });

  test("a node has three connections at most; the oldest one that is not in use makes room", async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode("worker-1");
    const others = [];
    for (let i = 0; i < 3; i++) {
      const other = await TestPeer.dial(cluster, node.identity);
      await other.hello();
      others.push(other);
    }
    expect((await others[0]!.end()).code).toBe(CLOSE_CODES.CONFLICT);
    await node.ask({ type: "Heartbeat", status: aNodeStatus() }, "Ack");
  });
});

describe("operators", () => {
  test("see nodes in Kubernetes' shape", async () => {
    await using cluster = await aCluster();
    await cluster.registeredNode("worker-1");
    await cluster.node("worker-2");
    const operator = await cluster.operator();
    const { nodes, next } = await operator.ask({ type: "ListNodes" }, "NodeList");
    expect(next).toBeUndefined();
    expect(nodes.map(({ metadata, status }) => [metadata.name, status.conditions.at(-1)?.status])).toEqual([
      ["worker-1", "True"],
      ["worker-2", "Unknown"],
    ]);
    expect(await operator.outcome({ type: "GetNode", name: "worker-3" })).toBe("NOT_FOUND");
  });

  test("lose their connections when the token is revoked, and get no new ones", async () => {
    await using cluster = await aCluster();
    const operator = await cluster.operator();
    const id = (await cluster.cluster.joinTokens.list())[0]!.id;
    await cluster.cluster.joinTokens.revoke(id, actor);
    expect((await operator.end()).code).toBe(CLOSE_CODES.JOIN_TOKEN_REVOKED);
    const again = await TestPeer.dial(cluster, operator.identity);
    await expect(again.hello()).rejects.toMatchObject({ code: "JOIN_TOKEN_REVOKED" });
  });
});

describe("the server certificate", () => {
  test("is renewed at two thirds of its life, without a restart", async () => {
    await using cluster = await aCluster();
    const first = await cluster.stranger();
    cluster.clock.advance((86_400_000 * 2) / 3);
    await settle();
    const second = await cluster.stranger();
    expect(second.connection.peerCertificates[0]).not.toEqual(first.connection.peerCertificates[0]);
    await second.hello();
  });

  test.each([
    { name: "forward past its renewal", ms: 20 * 3_600_000 },
    { name: "back to before it was issued", ms: -2 * 3_600_000 },
  ])("is renewed within a minute when the wall clock jumps $name", async ({ ms }) => {
    await using cluster = await aCluster();
    const first = await cluster.stranger();
    cluster.clock.jump(ms);
    cluster.clock.advance(60_000);
    await settle();
    const second = await cluster.stranger();
    expect(second.connection.peerCertificates[0]).not.toEqual(first.connection.peerCertificates[0]);
  });

  test("is tried again when it could not be written", async () => {
    await using cluster = await aCluster();
    const first = await cluster.stranger();
    cluster.storage.fault = new RksError("STORAGE_FULL", "the test filled the disk");
    cluster.clock.advance((86_400_000 * 2) / 3);
    await settle();
    cluster.storage.fault = undefined;
    cluster.clock.advance(60_000);
    await settle();
    const second = await cluster.stranger();
    expect(second.connection.peerCertificates[0]).not.toEqual(first.connection.peerCertificates[0]);
  });

  test("without an audit log nothing is served", async () => {
    await using cluster = await aCluster();
    cluster.audit.broken = "intents";
    const where = { host: "127.0.0.1", port: 0, dnsNames: [], ipAddresses: [] };
    const serving = cluster.cluster.serve(cluster.transport, where, new AbortController().signal);
    await expect(serving).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  });
});

function frame(body: string): Uint8Array {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(body.length + 1);
  header[4] = 1;
  return Buffer.concat([header, Buffer.from(body)]);
}

/** Let everything run that is waiting for nothing but its turn. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
