import { RksError } from "@rk8s/protocol";
import { openConnection } from "../bootstrap/open-connection.js";
import { RksAddresses } from "../bootstrap/rks-addresses.js";
import type { Identity } from "../identity/identity.js";
import { completePorts, type PortOptions } from "../ports.js";
import { RksConnection } from "./connection.js";
import { certificateExpired } from "./refusal.js";

export interface ConnectOptions extends PortOptions {
  /** What `requestCertificate` gave. It stays the caller's. */
  readonly identity: Identity;
  /** DER, the roots that the server must chain to; default: those that came with the identity. */
  readonly roots?: readonly Uint8Array[] | undefined;
  /** SHA-256 of the SubjectPublicKeyInfo of intermediates that do not count; default: those that came with the identity. */
  readonly refusedIssuers?: readonly Uint8Array[] | undefined;
  /** `host:port` of the control plane; of several, separated by commas. */
  readonly rksAddress: string;
  /** The same, read already: where nothing good came from is passed over. */
  readonly addresses?: RksAddresses | undefined;
  /** What the control plane's clock says now, which decides whether the certificate has expired. Default: what this host's says. */
  readonly serverNowMs?: number | undefined;
  /** Give up after this when nothing at all is heard of the server; default: 10 s, as when it has answered. */
  readonly answerTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connect with a certificate, by mutual TLS. When this resolves the server has been verified against the
 * roots and has itself accepted the identity.
 * @throws {RksError} CERTIFICATE_EXPIRED before anything is sent; UNREACHABLE, TIMED_OUT, CONNECTION_LOST;
 * SERVER_UNTRUSTED, SERVER_NAME_MISMATCH, CLOCK_SKEW; CLIENT_CERTIFICATE_REFUSED, CERTIFICATE_REVOKED, NODE_BANNED, NODE_EVICTED;
 * VERSION_UNSUPPORTED.
 */
export async function connect(options: ConnectOptions): Promise<RksConnection> {
  const { identity, signal, answerTimeoutMs } = options;
  const { roots = identity.trustBundle, refusedIssuers = identity.refusedIssuers } = options;
  const answer = answerTimeoutMs === undefined ? {} : { answerTimeoutMs };
  const addresses = options.addresses ?? RksAddresses.parse(options.rksAddress);
  const { patience } = addresses;
  const ports = await completePorts(options);
  const nowMs = ports.clock.now();
  if (identity.isExpired(options.serverNowMs ?? nowMs)) throw certificateExpired(identity);
  const credentials = identity.credentials();
  try {
    const server = { roots, refusedIssuers, credentials, ...patience, ...answer };
    const opened = await addresses.use((address) =>
      openConnection({ address, ...server }, { ports, signal }),
    );
    return new RksConnection(opened, { clock: ports.clock });
  } catch (reason) {
    // The server's TLS stack does not say why it refuses a certificate; that it has expired is the likely reason then.
    const isRefused = reason instanceof RksError && reason.code === "CLIENT_CERTIFICATE_REFUSED";
    throw isRefused && identity.isExpired(nowMs) ? certificateExpired(identity, reason) : reason;
  } finally {
    credentials.privateKey.fill(0);
  }
}
