import { parseRksAddress } from "../bootstrap/address.js";
import { openConnection } from "../bootstrap/open-connection.js";
import type { Identity } from "../identity/identity.js";
import { completePorts, type PortOptions } from "../ports.js";
import { RksConnection } from "./connection.js";
import { certificateExpired } from "./refusal.js";

export interface ConnectOptions extends PortOptions {
  /** What `requestCertificate` gave. It stays the caller's. */
  readonly identity: Identity;
  /** DER, the roots that the server must chain to; default: those that came with the identity. */
  readonly roots?: readonly Uint8Array[] | undefined;
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connect with a certificate, by mutual TLS. When this resolves the server has been verified against the
 * roots and has itself accepted the identity.
 * @throws {RksError} CERTIFICATE_EXPIRED before anything is sent; UNREACHABLE, TIMED_OUT, CONNECTION_LOST;
 * SERVER_UNTRUSTED, SERVER_NAME_MISMATCH; CLIENT_CERTIFICATE_REFUSED, CERTIFICATE_REVOKED, NODE_BANNED, NODE_EVICTED;
 * VERSION_UNSUPPORTED.
 */
export async function connect(options: ConnectOptions): Promise<RksConnection> {
  const { identity, signal } = options;
  const address = parseRksAddress(options.rksAddress);
  const ports = await completePorts(options);
  if (identity.isExpired(ports.clock.now())) throw certificateExpired(identity);
  const credentials = identity.credentials();
  try {
    const opened = await openConnection(
      { address, roots: options.roots ?? identity.trustBundle, credentials },
      { ports, signal },
    );
    return new RksConnection(opened, { clock: ports.clock });
  } finally {
    credentials.privateKey.fill(0);
  }
}
