import { once } from "node:events";
import { type ClientHttp2Stream, connect, createSecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { SERVER_NAME } from "./certificates.js";
import { duplexClient, serveDuplex } from "./duplex.js";
import type { Subject } from "./subject.js";

/** `node:http2` over TLS 1.3; a POST a stream. */
export const nodeHttp2: Subject = {
  name: "node:http2",
  async serve(pki) {
    const server = createSecureServer({
      cert: pki.server.certificatePem,
      key: pki.server.privateKeyPem,
      ca: pki.rootPem,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.3",
      settings: { maxConcurrentStreams: 1000, initialWindowSize: 4 << 20 },
    });
    server.on("stream", (stream) => {
      stream.respond({ ":status": 200 });
      serveDuplex(stream);
    });
    server.on("session", (session) => session.on("error", () => undefined));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { port: (server.address() as AddressInfo).port };
  },
  async connect(pki, port) {
    const session = connect(`https://127.0.0.1:${port}`, {
      servername: SERVER_NAME,
      ca: pki.rootPem,
      cert: pki.client.certificatePem,
      key: pki.client.privateKeyPem,
      settings: { initialWindowSize: 4 << 20 },
    });
    await once(session, "connect");
    const open = (): ClientHttp2Stream => session.request({ ":method": "POST", ":path": "/" });
    return {
      openEcho: async () => Promise.resolve(duplexClient(open()).openEcho()),
      request: async (message) => duplexClient(open()).request(message),
      upload: async (chunk, count) => duplexClient(open()).upload(chunk, count),
      async close() {
        session.destroy();
        if (!session.closed) await once(session, "close");
      },
    };
  },
};
