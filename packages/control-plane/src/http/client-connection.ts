import { TLSSocket } from "node:tls";
import type { Socket } from "node:net";
import type { Connection } from "../vault/backend.js";

/** Certificates of a chain that a client presents; longer ones are cut. */
const MAX_CHAIN = 10;

const known = new WeakMap<Socket, Connection>();

/** Where the requests of a socket come from. The chain is what the client presented; nobody has verified it. */
export function connectionOf(socket: Socket): Connection {
  let connection = known.get(socket);
  if (connection === undefined) {
    connection = describe(socket);
    known.set(socket, connection);
  }
  return connection;
}

function describe(socket: Socket): Connection {
  const { remoteAddress } = socket;
  const certificates = socket instanceof TLSSocket ? presentedChain(socket) : [];
  return {
    ...(remoteAddress === undefined ? {} : { remoteAddress: remoteAddress.replace(/^::ffff:(?=\d)/, "") }),
    ...(certificates.length === 0 ? {} : { clientCertificates: certificates }),
  };
}

/** DER, leaf first. */
function presentedChain(socket: TLSSocket): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  const seen = new Set<string>();
  for (
    let next = socket.getPeerX509Certificate();
    next !== undefined && chain.length < MAX_CHAIN && !seen.has(next.fingerprint256);
    next = next.issuerCertificate
  ) {
    seen.add(next.fingerprint256);
    chain.push(new Uint8Array(next.raw));
  }
  return chain;
}
