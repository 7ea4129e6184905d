import {
  encodeFrame,
  encodeMessage,
  MESSAGE_SCHEMAS,
  MessageStream,
  type RksMessage,
  type Stream,
  utf8,
} from "@rk8s/protocol";
import { aPodManifest, aWelcome } from "@rk8s/protocol/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { SOCKET_AUTHORITY } from "./authority.js";
import { aCluster, type TestCluster } from "./testing/a-cluster.js";

/** Both directions of one exchange on a unix socket. */
class SocketStream implements Stream {
  readonly #request: Uint8Array[];
  readonly #answer: Uint8Array[] = [];

  constructor(request: readonly Uint8Array[]) {
    this.#request = [...request];
  }

  async read(): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#request.shift());
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#answer.push(bytes.slice());
    return Promise.resolve();
  }

  end(): void {}

  reset(): void {}

  /** What was written, to be read. */
  answer(): MessageStream {
    return new MessageStream(new SocketStream(this.#answer));
  }
}

async function ask(cluster: TestCluster, ...request: Uint8Array[]): Promise<RksMessage> {
  const stream = new SocketStream(request);
  await cluster.cluster.serveStream(stream, {
    authority: SOCKET_AUTHORITY,
    signal: new AbortController().signal,
  });
  return (await stream.answer().receiveMessage()).message;
}

function frame(message: RksMessage): Uint8Array {
  return encodeFrame("message", encodeMessage(message));
}

test("the socket carries an operator's authority, without Hello", async () => {
  await using cluster = await aCluster();
  expect(await ask(cluster, frame({ type: "ApplyPod", manifest: aPodManifest() }))).toMatchObject({
    type: "Pod",
  });
  expect(await ask(cluster, frame({ type: "ListPods" }))).toMatchObject({
    type: "PodList",
    pods: [{ metadata: { name: "web" } }],
  });
});

test.each([
  {
    name: "a node's message",
    bytes: [frame({ type: "NodeStopping", reason: "" })],
    code: "PERMISSION_DENIED",
  },
  { name: "an answer", bytes: [frame(aWelcome())], code: "PERMISSION_DENIED" },
  { name: "nothing", bytes: [], code: "MESSAGE_TRUNCATED" },
  { name: "garbage", bytes: [new Uint8Array(100).fill(255)], code: "MESSAGE_TOO_LARGE" },
])("$name gets a coded error", async ({ bytes, code }) => {
  await using cluster = await aCluster();
  expect(await ask(cluster, ...bytes)).toMatchObject({ type: "Error", code });
});

test("whatever the bytes are and however they are split, there is one answer and nothing breaks", async () => {
  await using cluster = await aCluster();
  const types = Object.keys(MESSAGE_SCHEMAS);
  const someJson = fc
    .tuple(fc.constantFrom(...types), fc.jsonValue({ maxDepth: 3 }))
    .map(([type, body]) => encodeFrame("message", utf8(JSON.stringify({ [type]: body }))));
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), someJson);
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { maxLength: 4 }), async (chunks) => {
      const message = await ask(cluster, ...chunks);
      expect(message).not.toMatchObject({ code: "INTERNAL" });
    }),
    { numRuns: 500 },
  );
});
