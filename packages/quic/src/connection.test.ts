import { expect, test } from "vitest";
import type { Connection, Stream } from "@rk8s/protocol";
import { seededRandom } from "@rk8s/protocol/testing";
import type { QuicConnection } from "./connection.js";
import { SHUTDOWN_READ } from "./native-binding.js";
import { Cluster, readAll, request, serveEcho } from "./testing/link.js";
import type { Server } from "./testing/link.js";
import { LossyRelay } from "./testing/lossy-relay.js";

const cluster = await Cluster.create();
const HELLO = new TextEncoder().encode("hello");

async function firstStream(connection: Connection): Promise<Stream> {
  const next = await connection.incomingStreams()[Symbol.asyncIterator]().next();
  if (next.done === true) throw new Error("the connection ended");
  return next.value;
}

async function openPair(server: Server): Promise<{ client: Connection; accepted: Connection }> {
  const [client, accepted] = await Promise.all([cluster.dial(server.port), server.accept()]);
  return { client, accepted };
}

test.each([
  { name: "a bare end", finish: (stream: Stream) => stream.end() },
  { name: "a reset", finish: (stream: Stream) => stream.reset(7) },
])("$name that arrives after a local reset does no harm, a hundred times", async ({ finish }) => {
  await using server = await cluster.listen();
  const { client, accepted } = await openPair(server);
  const incoming = accepted.incomingStreams()[Symbol.asyncIterator]();
  for (let i = 0; i < 100; i++) {
    const near = await client.openStream();
    await near.write(HELLO);
    const next = await incoming.next();
    const far = next.value as Stream;
    far.reset(1);
    finish(near);
  }
  const last = await client.openStream();
  await last.write(HELLO);
  const next = await incoming.next();
  expect(await (next.value as Stream).read()).toEqual(HELLO);
});

test("a native read shutdown followed by the peer's end gives the stream's place back", async () => {
  await using server = await cluster.listen({ limits: { maxIncomingStreams: 1 } });
  const { client, accepted } = await openPair(server);
  const incoming = accepted.incomingStreams()[Symbol.asyncIterator]();
  for (let i = 0; i < 10; i++) {
    const near = await client.openStream();
    await near.write(HELLO);
    const far = (await incoming.next()).value as Stream & { id: number };
    (accepted as QuicConnection).native.streamShutdown(far.id, SHUTDOWN_READ, 0);
    far.end();
    near.end();
    expect(await readAll(near)).toHaveLength(0);
    far.reset();
  }
});

test("closing with much unsent on a fresh connection is over at once", async () => {
  await using server = await cluster.listen();
  for (let i = 0; i < 10; i++) {
    const { client, accepted } = await openPair(server);
    const stream = await client.openStream();
    const writing = stream.write(new Uint8Array(100_000)).catch((reason: unknown) => reason);
    const before = process.cpuUsage().user;
    await client.close({ code: 5 });
    expect((await client.ended).by).toBe("local");
    expect((await accepted.ended).code).toBe(5);
    expect(process.cpuUsage().user - before).toBeLessThan(1_000_000);
    await writing;
  }
});

test("many waiting for more streams than the peer allows are all served", async () => {
  await using server = await cluster.listen({ limits: { maxIncomingStreams: 3 } });
  void serveEcho(server.listener);
  const client = await cluster.dial(server.port);
  const answers = await Promise.all(Array.from({ length: 200 }, () => request(client, HELLO)));
  expect(answers.every((answer) => Buffer.from(answer).equals(HELLO))).toBe(true);
});

test("streams that are opened and reset without being taken do not pile up", async () => {
  await using server = await cluster.listen({ limits: { maxIncomingStreams: 4 } });
  const { client, accepted } = await openPair(server);
  for (let i = 0; i < 100; i++) {
    const stream = await client.openStream();
    await stream.write(HELLO);
    stream.reset();
  }
  const last = await client.openStream();
  await last.write(HELLO);
  last.end();
  let count = 0;
  for await (const stream of accepted.incomingStreams()) {
    count++;
    if ((await readAll(stream).catch(() => HELLO.subarray(1))).length === HELLO.length) break;
  }
  expect(count).toBeLessThanOrEqual(5);
});

test("a mass close is seen by the server at once", async () => {
  await using server = await cluster.listen({ limits: { idleTimeoutMs: 60_000, keepAliveIntervalMs: 0 } });
  const pairs = [];
  for (let i = 0; i < 300; i++) pairs.push(await openPair(server));
  for (const { client } of pairs) void client.close({ code: 4 });
  const ends = await Promise.all(pairs.map(({ accepted }) => accepted.ended));
  expect(ends.filter((end) => end.by === "peer" && end.code === 4)).toHaveLength(300);
}, 30_000);

test("a silent connection ends after the idle timeout on both sides", async () => {
  const limits = { idleTimeoutMs: 150, keepAliveIntervalMs: 0 };
  await using server = await cluster.listen({ limits });
  const client = await cluster.dial(server.port, { limits });
  const accepted = await server.accept();
  const next = accepted.incomingStreams()[Symbol.asyncIterator]().next();
  expect((await client.ended).by).toBe("lost");
  expect((await accepted.ended).error).toMatchObject({ code: "CONNECTION_LOST" });
  expect((await next).done).toBe(true);
});

test("keep-alive holds a silent connection longer than its idle timeout", async () => {
  const limits = { idleTimeoutMs: 200, keepAliveIntervalMs: 50 };
  await using server = await cluster.listen({ limits: { idleTimeoutMs: 200, keepAliveIntervalMs: 0 } });
  void serveEcho(server.listener);
  const client = await cluster.dial(server.port, { limits });
  const quiet = cluster.dial(server.port, { limits: { ...limits, keepAliveIntervalMs: 0 } });
  await (
    await quiet
  ).ended; // takes the idle timeout
  expect(await request(client, HELLO)).toEqual(HELLO);
});

test("a process that stood still for longer than the idle timeout keeps its connections", async () => {
  const limits = { idleTimeoutMs: 1000, keepAliveIntervalMs: 300 };
  await using server = await cluster.listen({ limits: { ...limits, keepAliveIntervalMs: 0 } });
  void serveEcho(server.listener);
  const client = await cluster.dial(server.port, { limits });
  expect(await request(client, HELLO)).toEqual(HELLO);
  // Both sides are in this process, which does nothing now, not even answer.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
  expect(await request(client, HELLO)).toEqual(HELLO);
  const end = await Promise.race([
    client.ended,
    cluster
      .dial(server.port, { limits: { ...limits, keepAliveIntervalMs: 0 } })
      .then(async (quiet) => quiet.ended.then(() => "alive")),
  ]);
  expect(end).toBe("alive");
});

test("what the peer sent before it closed can still be read", async () => {
  await using server = await cluster.listen();
  const { client, accepted } = await openPair(server);
  const near = await client.openStream();
  await near.write(HELLO);
  const far = await firstStream(accepted);
  await far.write(HELLO);
  far.end();
  await accepted.close({ code: 9 });
  await client.ended;
  expect(await readAll(near)).toEqual(HELLO);
});

test("nothing that was received can be read after this side has closed", async () => {
  await using server = await cluster.listen();
  const { client, accepted } = await openPair(server);
  const near = await client.openStream();
  await near.write(HELLO);
  const far = await firstStream(accepted);
  await accepted.close();
  await expect(far.read()).rejects.toMatchObject({ code: "CONNECTION_LOST" });
});

test("aborting a write that has begun resets the stream", async () => {
  await using server = await cluster.listen();
  const { client, accepted } = await openPair(server);
  const near = await client.openStream();
  const controller = new AbortController();
  const reason = new Error("enough");
  const writing = near.write(new Uint8Array(4_000_000), { signal: controller.signal });
  const far = await firstStream(accepted);
  await far.read();
  controller.abort(reason);
  await expect(writing).rejects.toBe(reason);
  await expect(near.write(HELLO)).rejects.toMatchObject({ code: "STREAM_RESET" });
  await expect(readAll(far)).rejects.toMatchObject({ code: "STREAM_RESET" });
});

test("a close reason longer than 256 bytes is cut between characters", async () => {
  await using server = await cluster.listen();
  const { client, accepted } = await openPair(server);
  await client.close({ reason: "ü".repeat(200) });
  expect((await accepted.ended).reason).toBe("ü".repeat(128));
});

test("requests and a large transfer survive 10 % loss and reordering", async () => {
  await using server = await cluster.listen();
  void serveEcho(server.listener);
  await using relay = await LossyRelay.open(server.port, {
    loss: 0.1,
    reordering: 0.1,
    random: seededRandom(42),
  });
  const client = await cluster.dial(relay.port, { credentials: cluster.clientCredentials() });
  for (let i = 0; i < 20; i++) expect(await request(client, HELLO)).toEqual(HELLO);
  const large = Uint8Array.from({ length: 200_000 }, (_, at) => at % 251);
  expect(Buffer.from(await request(client, large)).equals(large)).toBe(true);
  expect(relay.dropped).toBeGreaterThan(0);
  await client.close();
}, 30_000);
