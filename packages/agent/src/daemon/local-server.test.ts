import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "@rk8s/host";
import {
  MESSAGES_PATH,
  encodeFrame,
  MessageStream,
  request,
  silentLogger,
  utf8,
  type StreamOpener,
} from "@rk8s/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Handlers } from "../session/handlers.js";
import { serveLocally } from "./local-server.js";
import { socketPeer } from "./socket-peer.js";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rkl-socket-"));
  path = join(folder, "rkl.sock");
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function serve(handlers: Handlers = {}): Promise<AsyncDisposable> {
  const status = (): Promise<never> => Promise.reject(new Error("a bug"));
  return serveLocally({ path, handlers, status }, { clock, logger: silentLogger });
}

function peer(): StreamOpener {
  return socketPeer(path, { program: "rkl", start: "rkl pod daemon" });
}

/** Status and body of a raw exchange. */
async function exchange(
  method: string,
  target: string,
  body: Uint8Array = new Uint8Array(),
): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ socketPath: path, method, path: target, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

test.each([
  { name: "an empty body", body: new Uint8Array(), code: "MESSAGE_TRUNCATED" },
  {
    name: "half a frame",
    body: encodeFrame("message", utf8('{"ListPods":{}}')).subarray(0, 8),
    code: "MESSAGE_TRUNCATED",
  },
  {
    name: "a frame that claims four gigabytes",
    body: new Uint8Array([255, 255, 255, 255, 1]),
    code: "MESSAGE_TOO_LARGE",
  },
  { name: "an unknown kind of frame", body: new Uint8Array([0, 0, 0, 2, 9, 9]), code: "FRAME_INVALID" },
  { name: "no JSON", body: encodeFrame("message", utf8("hello")), code: "MESSAGE_INVALID" },
  {
    name: "an unknown message",
    body: encodeFrame("message", utf8('{"Reboot":{}}')),
    code: "MESSAGE_UNKNOWN",
  },
  {
    name: "a message that is not answered here",
    body: encodeFrame("message", utf8('{"ListNodes":{}}')),
    code: "MESSAGE_UNEXPECTED",
  },
])("$name gets $code, and the next request an answer", async ({ body, code }) => {
  await using _ = await serve({ ListPods: () => ({ type: "PodList", pods: [] }) });
  const answer = await exchange("POST", MESSAGES_PATH, body);
  expect(answer.status).toBe(200);
  expect(answer.body.toString()).toContain(`"code":"${code}"`);
  expect((await request(peer(), { type: "ListPods" }, "PodList", { clock })).message.pods).toEqual([]);
});

test.each([
  { method: "GET", target: "/", status: 404 },
  { method: "GET", target: MESSAGES_PATH, status: 404 },
  { method: "POST", target: "/v1/status", status: 404 },
  { method: "GET", target: "/v1/status", status: 500 },
])(
  "$method $target is $status with a coded document that tells nothing else",
  async ({ method, target, status }) => {
    await using _ = await serve();
    const answer = await exchange(method, target);
    expect(answer.status).toBe(status);
    expect(answer.body.toString()).toMatch(/^\{"error":\{"code":"(NOT_FOUND|INTERNAL)"/);
    expect(answer.body.toString()).not.toContain("a bug");
  },
);

test("what is no HTTP is cut off and harms nobody", async () => {
  await using _ = await serve({ ListPods: () => ({ type: "PodList", pods: [] }) });
  await new Promise<void>((resolve) => {
    const socket = connect(path, () => socket.write("\0\u0001garbage\r\n\r\n"));
    socket.resume().on("close", () => resolve());
    socket.on("error", () => undefined);
  });
  expect((await request(peer(), { type: "ListPods" }, "PodList", { clock })).message.pods).toEqual([]);
});

test("requests and answers larger than any buffer come through", async () => {
  const big = "x".repeat(900_000);
  await using _ = await serve({
    Hello: ({ features }) => ({
      message: { type: "PodLogs", container: "main" },
      bytes: (async function* () {
        yield await Promise.resolve(utf8(features.join("").length + big.repeat(5)));
      })(),
    }),
  });
  const stream = new MessageStream(await peer().openStream());
  await stream.send({ type: "Hello", versions: [1], features: ["a".repeat(64)], nonce: new Uint8Array(32) });
  stream.end();
  let length = 0;
  for (let received = await stream.receive(); received !== undefined; received = await stream.receive()) {
    if (received.kind === "bytes") length += received.bytes.length;
  }
  expect(length).toBe(4_500_002);
});

test("a client that goes away ends what was being answered", async () => {
  let ended: (reason: unknown) => void = () => undefined;
  const reason = new Promise((resolve) => (ended = resolve));
  await using _ = await serve({
    GetPodLogs: (_message, { signal }) => {
      signal.addEventListener("abort", () => ended(signal.reason));
      return { message: { type: "PodLogs", container: "main" }, bytes: forever(signal) };
    },
  });
  const stream = new MessageStream(await peer().openStream());
  await stream.send({ type: "GetPodLogs", namespace: "default", name: "web", follow: true });
  stream.end();
  await stream.receiveMessage();
  stream.reset();
  expect(await reason).toMatchObject({ code: "STREAM_RESET" });
});

test("disposing ends what is being answered and removes the socket", async () => {
  const server = await serve({
    GetPodLogs: (_message, { signal }) => ({
      message: { type: "PodLogs", container: "main" },
      bytes: forever(signal),
    }),
  });
  const stream = new MessageStream(await peer().openStream());
  await stream.send({ type: "GetPodLogs", namespace: "default", name: "web", follow: true });
  stream.end();
  await stream.receiveMessage();
  expect((await stream.receive())?.kind).toBe("bytes");
  await server[Symbol.asyncDispose]();
  await expect(stream.receive()).rejects.toMatchObject({ retryable: true });
  expect(await readdir(folder)).toEqual([]);
});

test("a socket that a killed agent left behind is replaced", async () => {
  await writeFile(path, "");
  await using _ = await serve({ ListPods: () => ({ type: "PodList", pods: [] }) });
  expect((await request(peer(), { type: "ListPods" }, "PodList", { clock })).message.pods).toEqual([]);
});

test("a path that is too long for a socket is a bad configuration", async () => {
  path = join(folder, "x".repeat(100));
  await expect(serve()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

async function* forever(signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  yield utf8("line\n");
  await new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}
