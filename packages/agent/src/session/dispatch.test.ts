import {
  MessageStream,
  request,
  RksError,
  silentLogger,
  utf8,
  type Connection,
  type RksMessage,
} from "@rk8s/protocol";
import { FakeClock, signalLoad } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { FakeRks } from "../testing/fake-rks.js";
import { RequestServer } from "./dispatch.js";
import type { Handlers } from "./handlers.js";
import { MovedReplies } from "./moved-replies.js";

const LOGS: RksMessage = { type: "GetPodLogs", namespace: "default", name: "web", follow: true };
const DELETE: RksMessage = { type: "DeletePod", namespace: "default", name: "web" };

/** Both ends of a connection, one of them answering with the handlers. */
async function setUp(handlers: Handlers, options: { readonly maxConcurrent?: number } = {}) {
  const clock = new FakeClock();
  const rks = await FakeRks.start({ clock });
  const answering = await rks.transport.dial({
    host: "127.0.0.1",
    port: Number(rks.address.split(":")[1]),
    alpn: "rks/1",
    serverName: "rks-cluster",
    roots: [rks.ca.root],
  });
  const end = new AbortController();
  const moved = new MovedReplies({ clock });
  const server = new RequestServer(handlers, {
    clock,
    logger: silentLogger,
    signal: end.signal,
    moved,
    ...options,
  });
  const served = server.serve(answering.incomingStreams());
  await (await answering.openStream()).write(utf8("hi"));
  const asking = await firstConnection(rks);
  return { clock, asking, end, served, server };
}

async function firstConnection(rks: FakeRks): Promise<Connection> {
  while (rks.connections.length === 0) await Promise.resolve();
  return rks.connections[0]!;
}

test("requests beyond the bound are told to come back, the others go on", async () => {
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { clock, asking } = await setUp({ DeletePod: async () => gate }, { maxConcurrent: 2 });
  const first = [request(asking, DELETE, "Ack", { clock }), request(asking, DELETE, "Ack", { clock })];
  await expect(request(asking, DELETE, "Ack", { clock })).rejects.toMatchObject({ code: "BUSY" });
  release();
  expect(await Promise.all(first)).toHaveLength(2);
  expect((await request(asking, DELETE, "Ack", { clock })).message).toEqual({ type: "Ack" });
});

test("a reader of bytes that has gone away is noticed although nothing is written", async () => {
  let release = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    release = resolve;
  });
  async function* nothing(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      yield utf8("one line\n");
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    } finally {
      release();
    }
  }
  const { clock, asking } = await setUp({
    GetPodLogs: (_, { signal }) => ({
      message: { type: "PodLogs", container: "main" },
      bytes: nothing(signal),
    }),
  });
  const stream = await asking.openStream();
  const messages = new MessageStream(stream);
  await messages.send(LOGS);
  messages.end();
  await messages.receiveMessage();
  await messages.receive();
  stream.reset();
  while ((await clock.nextSleep()) !== 5000);
  clock.advance(5000);
  await expect(ended).resolves.toBeUndefined();
});

test("requests and logs, however many and long, leave nothing with the connection's signal", async () => {
  async function* many(): AsyncGenerator<Uint8Array> {
    for (let count = 0; count < 50; count += 1) {
      expect(signalLoad(end.signal)).toBe(1);
      yield await Promise.resolve(utf8("one line\n"));
    }
  }
  const { clock, asking, end, served } = await setUp({
    DeletePod: () => undefined,
    GetPodLogs: () => ({ message: { type: "PodLogs", container: "main" }, bytes: many() }),
  });
  for (let count = 0; count < 10; count += 1) await request(asking, DELETE, "Ack", { clock });
  const messages = new MessageStream(await asking.openStream());
  await messages.send(LOGS);
  while ((await messages.receive()) !== undefined);
  await asking.close();
  await served;
  expect(signalLoad(end.signal)).toBe(0);
});

test("bytes that fail half-way end with the error", async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(utf8("one line\n"));
    throw new RksError("RUNTIME_FAILED", "the log file is gone");
  }
  const { asking } = await setUp({
    GetPodLogs: () => ({ message: { type: "PodLogs", container: "main" }, bytes: broken() }),
  });
  const messages = new MessageStream(await asking.openStream());
  await messages.send(LOGS);
  expect(await messages.receive()).toMatchObject({ message: { type: "PodLogs" } });
  expect(await messages.receive()).toMatchObject({ kind: "bytes" });
  expect(await messages.receive()).toMatchObject({ message: { type: "Error", code: "RUNTIME_FAILED" } });
  expect(await messages.receive()).toBeUndefined();
});

test("a request that never ends arriving is given up after ten seconds", async () => {
  const { clock, asking } = await setUp({});
  const stream = await asking.openStream();
  await stream.write(Uint8Array.of(0, 0));
  while ((await clock.nextSleep()) !== 10_000);
  clock.advance(10_000);
  const { message } = await new MessageStream(stream).receiveMessage();
  expect(message).toMatchObject({ type: "Error", code: "TIMED_OUT" });
});

test("ending aborts what is being answered", async () => {
  let reason: unknown;
  const { asking, end, served } = await setUp({
    DeletePod: async (_, { signal }) =>
      new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => {
          reason = signal.reason;
          resolve();
        });
      }),
  });
  const stream = await asking.openStream();
  await new MessageStream(stream).send(DELETE);
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
  end.abort("over");
  await asking.close();
  await served;
  expect(reason).toBe("over");
});
