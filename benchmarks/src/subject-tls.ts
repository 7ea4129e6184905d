import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:tls";
import { SERVER_NAME } from "./certificates.js";
import { duplexClient, serveDuplex } from "./duplex.js";
import type { Subject } from "./subject.js";

/** `node:tls` over TCP, TLS 1.3; one stream a connection. */
export const nodeTls: Subject = {
  name: "node:tls",
  async serve(pki) {
    const server = createServer(
      {
        cert: pki.server.certificatePem,
        key: pki.server.privateKeyPem,
        ca: pki.rootPem,
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: "TLSv1.3",
        noDelay: true,
      },
      (socket) => serveDuplex(socket),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { port: (server.address() as AddressInfo).port };
  },
  async connect(pki, port) {
    const socket = connect({
      host: "127.0.0.1",
      port,
      servername: SERVER_NAME,
      ca: pki.rootPem,
      cert: pki.client.certificatePem,
      key: pki.client.privateKeyPem,
    });
    socket.setNoDelay(true);
    await once(socket, "secureConnect");
    return {
      openEcho: async () => Promise.resolve(duplexClient(socket).openEcho()),
      upload: async (chunk, count) => duplexClient(socket).upload(chunk, count),
      async close() {
        socket.destroy();
        if (!socket.closed) await once(socket, "close");
      },
    };
  },
};
