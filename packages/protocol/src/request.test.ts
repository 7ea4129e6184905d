import { describe, expect, test } from "vitest";
import { encodeMessage } from "./codec.js";
import { RksError } from "./errors.js";
import { encodeFrame } from "./frame.js";
import type { RksMessage } from "./message.js";
import { MessageStream } from "./message-stream.js";
import { request } from "./request.js";
import { rejection } from "./testing/assert.js";
import { FakeClock } from "./testing/fake-clock.js";
import { createMemoryTransport, type MemoryTransport } from "./testing/memory-transport.js";
import type { Connection, Stream } from "./transport.js";
import { utf8 } from "./bytes.js";

const root = utf8("root");
const question: RksMessage = { type: "GetNode", name: "worker-1" };
const ack = encodeFrame("message", encodeMessage({ type: "Ack" }));

/** A client whose peer treats each stream as the test says. */
async function aPeer(
  serve: (stream: Stream, connection: Connection) => Promise<void>,
): Promise<{ client: Connection; transport: MemoryTransport; clock: FakeClock } & AsyncDisposable> {
  const transport = createMemoryTransport();
  const credentials = { certificateChain: [utf8("leaf of rks-cluster"), root], privateKey: utf8("key") };
  const listener = await transport.listen({
    host: "127.0.0.1",
    port: 0,
    alpn: ["rks/1"],
    credentials,
    clientRoots: [],
  });
  const { port } = listener.address;
  const dial = { host: "127.0.0.1", port, alpn: "rks/1", serverName: "rks-cluster", roots: [root] };
  const client = await transport.dial(dial);
  const serving = (async () => {
    for await (const connection of listener.connections()) {
      for await (const stream of connection.incomingStreams())
        await serve(stream, connection).catch(() => undefined);
    }
  })();
  return {
    client,
    transport,
    clock: new FakeClock(),
    async [Symbol.asyncDispose]() {
      await listener.close();
      await serving;
    },
  };
}

/** A promise and what resolves it. */
function aPromise<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Read the question up to its end, then send these bytes and the end. */
function answering(...frames: readonly Uint8Array[]) {
  return async (stream: Stream): Promise<void> => {
    while ((await stream.read()) !== undefined);
    for (const frame of frames) await stream.write(frame);
    stream.end();
  };
}

describe("a request", () => {
  test("gives the answer with both bodies as they were on the wire", async () => {
    await using peer = await aPeer(async (stream) => {
      const messages = new MessageStream(stream);
      const { message } = await messages.receiveMessage();
      await messages.receiveEnd();
      expect(message).toEqual(question);
      await messages.send({ type: "PodLogs", container: "main" });
      messages.end();
    });
    const answer = await request(peer.client, question, "PodLogs", peer);
    expect(answer.message.container).toBe("main");
    expect(new TextDecoder().decode(answer.sentBody)).toBe('{"GetNode":{"name":"worker-1"}}');
    expect(new TextDecoder().decode(answer.body)).toBe('{"PodLogs":{"container":"main"}}');
    expect(peer.clock.pendingSleeps).toBe(0);
  });

  test("can be made far more often than streams may be open at once", async () => {
    await using peer = await aPeer(answering(ack));
    const answers = new Set<string>();
    for (let i = 0; i < 200; i++)
      answers.add((await request(peer.client, question, "Ack", peer)).message.type);
    expect([...answers]).toEqual(["Ack"]);
  });

  test("fails with the peer's error", async () => {
    const error = new RksError("NODE_BANNED", 'node "worker-1" is banned', { suggestion: "Unban it." });
    const body = encodeMessage({ type: "Error", ...error.toJSON() });
    await using peer = await aPeer(answering(encodeFrame("message", body)));
    await expect(request(peer.client, question, "Ack", peer)).rejects.toMatchObject({
      code: "NODE_BANNED",
      message: 'node "worker-1" is banned',
      suggestion: "Unban it.",
    });
  });

  test.each([
    {
      name: "another answer than expected",
      frames: [encodeFrame("message", encodeMessage(question))],
      code: "MESSAGE_UNEXPECTED",
    },
    { name: "two answers", frames: [ack, ack], code: "MESSAGE_UNEXPECTED" },
    {
      name: "raw bytes for an answer",
      frames: [encodeFrame("bytes", utf8("x"))],
      code: "MESSAGE_UNEXPECTED",
    },
    { name: "no answer", frames: [], code: "MESSAGE_TRUNCATED" },
    { name: "half an answer", frames: [ack.subarray(0, 7)], code: "MESSAGE_TRUNCATED" },
    {
      name: "an answer that is not JSON",
      frames: [encodeFrame("message", utf8("?"))],
      code: "MESSAGE_INVALID",
    },
    {
      name: "an answer that nobody knows",
      frames: [encodeFrame("message", utf8('"Later"'))],
      code: "MESSAGE_UNKNOWN",
    },
    { name: "a frame of length 0", frames: [new Uint8Array(4)], code: "FRAME_INVALID" },
    { name: "a bad frame behind the answer", frames: [ack, new Uint8Array(4)], code: "FRAME_INVALID" },
  ])("fails with $code for $name, and the connection goes on", async ({ frames, code }) => {
    let asked = 0;
    await using peer = await aPeer(async (stream) => {
      asked++;
      await (asked === 1 ? answering(...frames) : answering(ack))(stream);
    });
    await expect(request(peer.client, question, "Ack", peer)).rejects.toMatchObject({ code });
    expect((await request(peer.client, question, "Ack", peer)).message.type).toBe("Ack");
    expect(peer.clock.pendingSleeps).toBe(0);
  });

  test("that nobody answers fails with TIMED_OUT and resets its stream", async () => {
    const seen = aPromise<unknown>();
    await using peer = await aPeer(async (stream) => {
      while ((await stream.read()) !== undefined);
      seen.resolve(await rejection(stream.read().then(() => stream.write(new Uint8Array(1_000_000)))));
    });
    const result = request(peer.client, question, "Ack", { clock: peer.clock, timeoutMs: 3000 });
    const failure = rejection(result);
    expect(await peer.clock.nextSleep()).toBe(3000);
    peer.clock.advance(3000);
    expect(await failure).toMatchObject({
      code: "TIMED_OUT",
      message: "GetNode was not answered within 3 s",
    });
    expect(await seen.promise).toMatchObject({ code: "STREAM_RESET" });
  });

  test("fails with the signal's reason when it is given up", async () => {
    await using peer = await aPeer(async (stream) => {
      while ((await stream.read()) !== undefined);
    });
    const controller = new AbortController();
    const reason = new Error("stopping");
    const result = request(peer.client, question, "Ack", { clock: peer.clock, signal: controller.signal });
    const failure = rejection(result);
    await peer.clock.nextSleep();
    controller.abort(reason);
    expect(await failure).toBe(reason);
    expect(peer.clock.pendingSleeps).toBe(0);
  });

  test("whose answer is whole counts although the peer closes right behind it", async () => {
    const answered = aPromise<undefined>();
    await using peer = await aPeer(async (stream, connection) => {
      while ((await stream.read()) !== undefined);
      await stream.write(ack);
      await answered.promise;
      await connection.close();
    });
    const watched = {
      async openStream() {
        const stream = await peer.client.openStream();
        const read = async (): Promise<Uint8Array | undefined> => {
          const bytes = await stream.read();
          answered.resolve(undefined);
          return bytes;
        };
        return {
          read,
          write: stream.write.bind(stream),
          end: stream.end.bind(stream),
          reset: stream.reset.bind(stream),
        };
      },
    };
    expect((await request(watched, question, "Ack", peer)).message.type).toBe("Ack");
  });

  test.each([
    { effect: "truncate", code: "MESSAGE_TRUNCATED" },
    { effect: "reset", code: "STREAM_RESET" },
    { effect: "lose", code: "CONNECTION_LOST" },
  ] as const)(
    "whose answer falls to a network that does $effect fails with $code, which may be tried again",
    async ({ effect, code }) => {
      await using peer = await aPeer(answering(ack));
      peer.transport.inject({ from: "server", afterBytes: 3, effect });
      const error: unknown = await request(peer.client, question, "Ack", peer).catch(
        (reason: unknown) => reason,
      );
      expect(error).toMatchObject({ code, retryable: true });
    },
  );
});

describe("a message stream", () => {
  test("carries messages and raw bytes in order and splits large ones", async () => {
    const sent = Uint8Array.from({ length: 150_000 }, (_, i) => i & 0xff);
    await using peer = await aPeer(async (stream) => {
      const messages = new MessageStream(stream);
      await messages.send({ type: "PodLogs", container: "main" });
      await messages.sendBytes(sent);
      messages.end();
    });
    const messages = new MessageStream(await peer.client.openStream());
    messages.end();
    expect((await messages.receiveMessage()).message.type).toBe("PodLogs");
    const sizes: number[] = [];
    let total = 0;
    for (let part = await messages.receive(); part !== undefined; part = await messages.receive()) {
      const bytes = part.kind === "bytes" ? part.bytes : new Uint8Array(0);
      expect(bytes).toEqual(sent.subarray(total, total + bytes.length));
      total += bytes.length;
      sizes.push(bytes.length);
    }
    expect(sizes).toEqual([65_536, 65_536, 18_928]);
    expect(await messages.receive()).toBeUndefined();
  });

  test("takes less from those who are allowed less", async () => {
    await using peer = await aPeer(answering(encodeFrame("bytes", new Uint8Array(100))));
    const messages = new MessageStream(await peer.client.openStream(), { maxFrameBytes: 100 });
    messages.end();
    await expect(messages.receive()).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    await expect(messages.receive()).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
  });

  test("sends nothing of a message that no peer would take", async () => {
    const received = aPromise<Uint8Array | undefined>();
    await using peer = await aPeer(async (stream) => received.resolve(await stream.read()));
    const messages = new MessageStream(await peer.client.openStream());
    const entry = { name: "A", value: "x".repeat(131_072) };
    const large: RksMessage = {
      type: "ApplyPod",
      manifest: {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "large", namespace: "default" },
        spec: {
          containers: [{ name: "main", env: Array.from({ length: 8 }, () => entry) }],
          restartPolicy: "Always",
          terminationGracePeriodSeconds: 30,
        },
      },
    };
    await expect(messages.send(large)).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    messages.end();
    expect(await received.promise).toBeUndefined();
  });
});
