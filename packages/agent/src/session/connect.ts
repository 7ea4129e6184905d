import { RksError } from "@rk8s/protocol";
import { parseRksAddress } from "../bootstrap/address.js";
import { openConnection } from "../bootstrap/open-connection.js";
import type { Identity } from "../identity/identity.js";
import { completePorts, type PortOptions } from "../ports.js";
import { RksConnection } from "./connection.js";

export interface ConnectOptions extends PortOptions {
  /** What `requestCertificate` gave. It stays the caller's. */
  readonly identity: Identity;
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connect with a certificate, by mutual TLS. When this resolves the server has been verified against the
 * identity's trust bundle and has itself accepted the identity.
 * @throws {RksError} CERTIFICATE_EXPIRED before anything is sent; UNREACHABLE, TIMED_OUT, CONNECTION_LOST;
 * SERVER_UNTRUSTED, SERVER_NAME_MISMATCH; CLIENT_CERTIFICATE_REFUSED, CERTIFICATE_REVOKED, NODE_BANNED, NODE_EVICTED;
 * VERSION_UNSUPPORTED.
 */
export async function connect(options: ConnectOptions): Promise<RksConnection> {
  const { identity, signal } = options;
  const address = parseRksAddress(options.rksAddress);
  const ports = await completePorts(options);
  assertAlive(identity, ports.clock.now());
  const credentials = identity.credentials();
  try {
    const opened = await openConnection(
      { address, roots: identity.trustBundle, credentials },
      { ports, signal },
    );
    return new RksConnection(opened, { clock: ports.clock });
  } finally {
    credentials.privateKey.fill(0);
  }
}

function assertAlive(identity: Identity, nowMs: number): void {
  if (!identity.isExpired(nowMs)) return;
  const what = identity.role === "node" ? `certificate of node "${identity.nodeName}"` : "certificate";
  throw new RksError("CERTIFICATE_EXPIRED", `the ${what} expired at ${identity.notAfter.toISOString()}`, {
    suggestion:
      identity.role === "node"
        ? `Run \`rks node rejoin ${identity.nodeName}\` on the control plane and start again with the token that it prints.`
        : "Run the command again.",
  });
}
