import { systemClock } from "@rk8s/agent";
import type { Connection, Credentials, Stream } from "@rk8s/protocol";
import { createQuicTransport } from "@rk8s/quic";
import { type Leaf, SERVER_NAME } from "./certificates.js";
import { ECHO, SINK, type Subject } from "./subject.js";

const ALPN = "bench/1";
const LIMITS = { idleTimeoutMs: 60_000, keepAliveIntervalMs: 20_000, maxIncomingStreams: 1000 };
const transport = createQuicTransport({ clock: systemClock });
const credentials = new WeakMap<Leaf, Credentials>();

/** `packages/quic`. */
export const rk8sQuic: Subject = {
  name: "rk8s quic",
  async serve(pki) {
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      alpn: [ALPN],
      credentials: credentialsOf(pki.server),
      clientRoots: [pki.root],
      limits: LIMITS,
    });
    void (async () => {
      for await (const connection of listener.connections()) void serveConnection(connection);
    })();
    return { port: listener.address.port };
  },
  async connect(pki, port) {
    const connection = await transport.dial({
      host: "127.0.0.1",
      port,
      alpn: ALPN,
      serverName: SERVER_NAME,
      roots: [pki.root],
      credentials: credentialsOf(pki.client),
      limits: LIMITS,
    });
    return {
      async openEcho() {
        const stream = await connection.openStream();
        await stream.write(Uint8Array.of(ECHO));
        return async (message) => {
          await stream.write(message);
          await readBytes(stream, message.length);
        };
      },
      async request(message) {
        const stream = await connection.openStream();
        const framed = new Uint8Array(message.length + 1);
        framed[0] = ECHO;
        framed.set(message, 1);
        await stream.write(framed);
        stream.end();
        await readBytes(stream, message.length);
        await stream.read();
      },
      async upload(chunk, count) {
        const stream = await connection.openStream();
        await stream.write(Uint8Array.of(SINK));
        for (let i = 0; i < count; i++) await stream.write(chunk);
        stream.end();
        await readBytes(stream, 1);
      },
      close: async () => connection.close(),
    };
  },
};

function credentialsOf(leaf: Leaf): Credentials {
  const known = credentials.get(leaf);
  if (known !== undefined) return known;
  const made = { certificateChain: [leaf.certificate], privateKey: leaf.privateKey.slice() };
  credentials.set(leaf, made);
  return made;
}

async function serveConnection(connection: Connection): Promise<void> {
  for await (const stream of connection.incomingStreams()) serveStream(stream).catch(() => stream.reset());
}

async function serveStream(stream: Stream): Promise<void> {
  const first = await stream.read();
  if (first === undefined) return;
  const echo = first[0] === ECHO;
  if (echo && first.length > 1) await stream.write(first.subarray(1));
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
    if (echo) await stream.write(bytes);
  }
  if (!echo) await stream.write(Uint8Array.of(1));
  stream.end();
}

async function readBytes(stream: Stream, count: number): Promise<void> {
  for (let left = count; left > 0;) {
    const bytes = await stream.read();
    if (bytes === undefined) throw new Error("the stream ended early");
    left -= bytes.length;
  }
}
