import { createHmac, randomBytes, randomFillSync, timingSafeEqual } from "node:crypto";
import Logger, { LogLevel } from "@matrixai/logger";
import { events, QUICClient, QUICServer, type QUICStream } from "@matrixai/quic";
import { SERVER_NAME } from "./certificates.js";
import { ECHO, SINK, type Subject } from "./subject.js";

const logger = new Logger("benchmark", LogLevel.SILENT);
const CONFIG = {
  verifyPeer: true,
  applicationProtos: ["bench/1"],
  maxIdleTimeout: 60_000,
  keepAliveIntervalTime: 20_000,
  initialMaxStreamsBidi: 1000,
  enableEarlyData: false,
};
const ended = (reason: unknown): void => void reason;

/** The classes of `@matrixai/quic` as their documentation uses them. */
export const matrixaiClasses: Subject = {
  name: "@matrixai/quic classes",
  async serve(pki) {
    process.on("uncaughtException", ended).on("unhandledRejection", ended);
    const mac = (key: ArrayBuffer, data: ArrayBuffer): Buffer =>
      createHmac("sha256", Buffer.from(key)).update(Buffer.from(data)).digest();
    const server = new QUICServer({
      crypto: {
        key: new Uint8Array(randomBytes(32)).buffer,
        ops: {
          sign: async (key, data) => Promise.resolve(new Uint8Array(mac(key, data)).buffer),
          async verify(key, data, signature) {
            const expected = mac(key, data);
            const given = Buffer.from(signature);
            return Promise.resolve(expected.length === given.length && timingSafeEqual(expected, given));
          },
        },
      },
      config: { ...CONFIG, key: pki.server.privateKeyPem, cert: pki.server.certificatePem, ca: pki.rootPem },
      logger,
    });
    server.addEventListener(events.EventQUICConnectionStream.name, (event: Event) => {
      const { detail } = event as InstanceType<typeof events.EventQUICConnectionStream>;
      serveStream(detail).catch(ended);
    });
    await server.start({ host: "127.0.0.1", port: 0 });
    return { port: Number(server.port) };
  },
  async connect(pki, port) {
    const client = await QUICClient.createQUICClient(
      {
        host: "127.0.0.1",
        port,
        localHost: "127.0.0.1",
        serverName: SERVER_NAME,
        crypto: {
          ops: { randomBytes: async (data) => Promise.resolve(void randomFillSync(new Uint8Array(data))) },
        },
        config: {
          ...CONFIG,
          key: pki.client.privateKeyPem,
          cert: pki.client.certificatePem,
          ca: pki.rootPem,
        },
        logger,
      },
      { timer: 10_000 },
    );
    const open = (): QUICStream => client.connection.newStream("bidi");
    return {
      async openEcho() {
        const stream = open();
        const writer = stream.writable.getWriter();
        const reader = stream.readable.getReader();
        await writer.write(Uint8Array.of(ECHO));
        return async (message) => {
          await writer.write(message);
          await readBytes(reader, message.length);
        };
      },
      async request(message) {
        const stream = open();
        const writer = stream.writable.getWriter();
        const framed = new Uint8Array(message.length + 1);
        framed[0] = ECHO;
        framed.set(message, 1);
        await writer.write(framed);
        await writer.close();
        for await (const _ of stream.readable);
      },
      async upload(chunk, count) {
        const stream = open();
        const writer = stream.writable.getWriter();
        await writer.write(Uint8Array.of(SINK));
        for (let i = 0; i < count; i++) await writer.write(chunk);
        await writer.close();
        for await (const _ of stream.readable);
      },
      close: async () => client.destroy({ isApp: true, errorCode: 0, force: true }),
    };
  },
};

async function serveStream(stream: QUICStream): Promise<void> {
  const writer = stream.writable.getWriter();
  let mode: number | undefined;
  for await (const chunk of stream.readable) {
    const isFirst = mode === undefined;
    mode ??= chunk[0];
    const rest = isFirst ? chunk.subarray(1) : chunk;
    if (mode === ECHO && rest.length > 0) await writer.write(rest);
  }
  if (mode === SINK) await writer.write(Uint8Array.of(1));
  await writer.close();
}

async function readBytes(reader: ReadableStreamDefaultReader<Uint8Array>, count: number): Promise<void> {
  for (let left = count; left > 0;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the stream ended early");
    left -= value.length;
  }
}
