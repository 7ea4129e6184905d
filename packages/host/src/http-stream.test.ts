import { once } from "node:events";
import { createServer, request, type ClientRequest, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { FRAMES_MEDIA_TYPE, fromUtf8, RksError, type Stream, utf8 } from "@rk8s/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HttpStream, serverStream } from "./http-stream.js";

let server: Server;
let serve: (stream: Stream) => Promise<void>;
let failed: Promise<unknown>;
beforeEach(async () => {
  let fail: (reason: unknown) => void;
  failed = new Promise((resolve) => (fail = resolve));
  server = createServer((incoming, response) => {
    serve(serverStream(incoming, response)).catch((reason: unknown) => {
      fail(reason);
      if (!response.headersSent) response.writeHead(503, { "content-type": "application/json" }).end("{}");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

interface Client {
  readonly stream: HttpStream;
  readonly outgoing: ClientRequest;
  readonly incoming: Promise<IncomingMessage>;
}

function connect(): Client {
  const { port } = server.address() as AddressInfo;
  const outgoing = request({ host: "127.0.0.1", port, method: "POST", agent: false });
  const incoming = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.on("response", (response) => {
      response.on("error", () => undefined);
      resolve(response);
    });
    outgoing.on("error", reject);
  });
  const broken = (cause: unknown): RksError => new RksError("CONNECTION_LOST", "gone", { cause });
  return {
    stream: new HttpStream({ incoming, outgoing, broken }),
    outgoing,
    incoming,
  };
}

async function textOf(stream: Stream): Promise<string> {
  let text = "";
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read())
    text += fromUtf8(bytes);
  return text;
}

test("both bodies flow at the same time", async () => {
  serve = async (stream) => {
    for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
      await stream.write(utf8(`<${fromUtf8(bytes)}>`));
    }
    stream.end();
  };
  const { stream, incoming } = connect();
  await stream.write(utf8("one"));
  expect(fromUtf8((await stream.read())!)).toBe("<one>");
  expect((await incoming).headers["content-type"]).toBe(FRAMES_MEDIA_TYPE);
  await stream.write(utf8("two"));
  expect(fromUtf8((await stream.read())!)).toBe("<two>");
  stream.end();
  expect(await stream.read()).toBeUndefined();
});

test("bytes that change once written do not change on the way", async () => {
  serve = async (stream) => {
    await stream.write(utf8(await textOf(stream)));
    stream.end();
  };
  const { stream } = connect();
  const bytes = utf8("kept");
  await stream.write(bytes);
  bytes.fill(0);
  stream.end();
  expect(await textOf(stream)).toBe("kept");
});

test("more than any buffer holds waits for the reader", async () => {
  const block = new Uint8Array(1_048_576).fill(0x61);
  serve = async (stream) => {
    for (let i = 0; i < 8; i++) await stream.write(block);
    stream.end();
  };
  const { stream } = connect();
  stream.end();
  expect((await textOf(stream)).length).toBe(8 * block.length);
});

test("before the first byte the exchange can be answered otherwise", async () => {
  serve = () => Promise.reject(new RksError("UNAVAILABLE", "not now"));
  const { stream, incoming } = connect();
  stream.end();
  const answer = await incoming;
  expect(answer.statusCode).toBe(503);
  expect(answer.headers["content-type"]).toBe("application/json");
});

test("a client that resets ends the server's reading with STREAM_RESET", async () => {
  serve = async (stream) => {
    await stream.write(utf8("hello"));
    await textOf(stream);
  };
  const { stream } = connect();
  await stream.write(utf8("x"));
  await stream.read();
  stream.reset();
  expect(await failed).toMatchObject({ code: "STREAM_RESET" });
  await expect(stream.write(utf8("y"))).rejects.toMatchObject({ code: "CONNECTION_LOST" });
});

test("waiting ends with the signal's own reason, before and after the answer's head", async () => {
  serve = async (stream) => {
    await stream.read();
    await stream.write(utf8("head"));
    await textOf(stream);
  };
  const reason = new Error("enough");
  const { stream } = connect();
  const first = new AbortController();
  const waiting = stream.read({ signal: first.signal });
  first.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  await stream.write(utf8("x"));
  expect(fromUtf8((await stream.read())!)).toBe("head");
  const second = new AbortController();
  const again = stream.read({ signal: second.signal });
  second.abort(reason);
  await expect(again).rejects.toBe(reason);
  stream.reset();
});
