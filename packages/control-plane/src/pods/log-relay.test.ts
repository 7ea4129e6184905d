import { type Connection, MessageStream, type RksMessage } from "@rk8s/protocol";
import { createMemoryTransport, FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import type { NodeLink } from "../nodes/node-link.js";
import { LogRelay } from "./log-relay.js";

const getLogs = { type: "GetPodLogs", namespace: "default", name: "web", follow: true } as const;

/** Two ends of a connection: the first opens streams, the second gets them. */
async function connected(): Promise<readonly [Connection, Connection]> {
  const transport = createMemoryTransport({ verify: () => undefined });
  const credentials = { certificateChain: [Uint8Array.of(1)], privateKey: Uint8Array.of(1) };
  const listener = await transport.listen({
    host: "127.0.0.1",
    port: 0,
    alpn: ["x"],
    credentials,
    clientRoots: [],
  });
  const dialled = await transport.dial({
    ...listener.address,
    alpn: "x",
    serverName: "x",
    roots: [Uint8Array.of(1)],
  });
  const { value } = await listener.connections()[Symbol.asyncIterator]().next();
  return [dialled, value as Connection];
}

/** A node's connection, and what it is asked over it. */
async function aNode() {
  const [connection, node] = await connected();
  const ended = new AbortController();
  const link: NodeLink = {
    nodeName: "worker-1",
    remoteAddress: connection.remoteAddress,
    certificateNotAfter: Infinity,
    generation: 0,
    drain: () => undefined,
    ended: ended.signal,
    openStream: async (options) => connection.openStream(options),
    close: () => ended.abort(),
  };
  const incoming = node.incomingStreams()[Symbol.asyncIterator]();
  const asked = async (): Promise<{ readonly message: RksMessage; readonly stream: MessageStream }> => {
    const stream = new MessageStream((await incoming.next()).value);
    return { message: (await stream.receiveMessage()).message, stream };
  };
  return { link, asked };
}

/** Logs on their way to an operator. `move` makes another connection the node's own. */
async function setUp() {
  const first = await aNode();
  let link = first.link;
  const [operator, server] = await connected();
  const logs = new MessageStream(await operator.openStream());
  await logs.send(getLogs);
  const stream = new MessageStream((await server.incomingStreams()[Symbol.asyncIterator]().next()).value);
  await stream.receiveMessage();
  const relay = new LogRelay({ clock: new FakeClock() });
  const { signal } = new AbortController();
  const relayed = relay
    .relay(() => Promise.resolve(link), { ...getLogs, resume: "somebody else's" }, stream, { signal })
    .finally(() => stream.end());
  relayed.catch(() => undefined);
  return { first, logs, relayed, move: (other: NodeLink) => void (link = other) };
}

async function textOf(logs: MessageStream): Promise<string> {
  let text = "";
  for (let part = await logs.receive(); part !== undefined; part = await logs.receive()) {
    if (part.kind === "bytes") text += Buffer.from(part.bytes).toString();
  }
  return text;
}

test("logs go on over the connection that replaces the one on which they began", async () => {
  const { first, logs, relayed, move } = await setUp();
  const began = await first.asked();
  expect(began.message).toEqual(getLogs);
  await began.stream.send({ type: "PodLogs", container: "main" });
  await began.stream.sendBytes(Buffer.from("one\n"));
  const second = await aNode();
  move(second.link);
  await began.stream.send({ type: "LogsMoved", resume: "here" });
  began.stream.end();
  const rest = await second.asked();
  expect(rest.message).toEqual({ ...getLogs, resume: "here" });
  await rest.stream.send({ type: "PodLogs", container: "main" });
  await rest.stream.sendBytes(Buffer.from("two\n"));
  rest.stream.end();
  expect((await logs.receiveMessage()).message).toEqual({ type: "PodLogs", container: "main" });
  expect(await textOf(logs)).toBe("one\ntwo\n");
  await relayed;
});

test("a node that moves logs without another connection is not asked again", async () => {
  const { first, relayed } = await setUp();
  const { stream } = await first.asked();
  await stream.send({ type: "PodLogs", container: "main" });
  await stream.send({ type: "LogsMoved", resume: "here" });
  await expect(relayed).rejects.toMatchObject({ code: "MESSAGE_UNEXPECTED" });
});

test("a node that does not know any more where the logs were is not believed to have none", async () => {
  const { first, relayed, move } = await setUp();
  const { stream } = await first.asked();
  await stream.send({ type: "PodLogs", container: "main" });
  const second = await aNode();
  move(second.link);
  await stream.send({ type: "LogsMoved", resume: "gone" });
  const rest = await second.asked();
  await rest.stream.send({ type: "Error", code: "NOT_FOUND", message: "gone", retryable: false });
  await expect(relayed).rejects.toMatchObject({ code: "NOT_FOUND" });
});
