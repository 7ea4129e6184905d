import { randomBytes } from "node:crypto";
import {
  ALPN,
  LIMITS,
  PROTOCOL_VERSIONS,
  request,
  RksError,
  SERVER_NAME,
  type Connection,
  type Credentials,
  type Message,
  type SocketAddress,
} from "@rk8s/protocol";
import { assertServerLeaf, type Certificate } from "@rk8s/x509";
import { leadsToTrusted } from "../identity/trusted-roots.js";
import type { AgentPorts } from "../ports.js";
import { formatAddress } from "./address.js";
import { explainByDates } from "./untrusted-server.js";

export interface OpenConnectionInit {
  readonly address: SocketAddress;
  /** DER; the only certificates trusted. */
  readonly roots: readonly Uint8Array[];
  /** SHA-256 of the SubjectPublicKeyInfo of intermediates whose signatures do not count. */
  readonly refusedIssuers?: readonly Uint8Array[] | undefined;
  /** What to present; nothing when bootstrapping. */
  readonly credentials?: Credentials;
  /** Give up after this when nothing at all is heard of the server; default: as late as any handshake. */
  readonly answerTimeoutMs?: number | undefined;
  /** Take the connection for lost after this without a sign of the server; default: as any connection. */
  readonly idleTimeoutMs?: number | undefined;
}

/** A connection on which both sides have greeted each other. */
export interface OpenedConnection {
  readonly connection: Connection;
  readonly serverLeaf: Certificate;
  readonly welcome: Message<"Welcome">;
  /** The body of Hello as sent. */
  readonly helloBody: Uint8Array;
  /** The body of Welcome as received. */
  readonly welcomeBody: Uint8Array;
  /** By how much this host's clock is ahead of the server's, behind it when negative; milliseconds. */
  readonly clockSkewMs: number;
}

/** Clocks further apart than this are worth a warning; certificates are backdated by a minute. */
const MAX_CLOCK_SKEW_MS = 30_000;

/**
 * Dial the control plane, check what TLS leaves open about its certificate, and exchange Hello and Welcome. The
 * round trip also confirms that the server took the client certificate: in TLS 1.3 the handshake ends on this
 * side before the server has judged it.
 * @throws {RksError} UNREACHABLE, TIMED_OUT, CONNECTION_LOST; SERVER_UNTRUSTED, SERVER_NAME_MISMATCH; CLOCK_SKEW when
 * only the dates of the server's certificates do not hold here;
 * CLIENT_CERTIFICATE_REFUSED; VERSION_UNSUPPORTED; and whatever the server answers.
 */
export async function openConnection(
  init: OpenConnectionInit,
  options: { readonly ports: AgentPorts; readonly signal: AbortSignal | undefined },
): Promise<OpenedConnection> {
  try {
    return await open(init, options);
  } catch (reason) {
    throw reason instanceof RksError ? await explainByDates(reason, init, options) : reason;
  }
}

async function open(
  init: OpenConnectionInit,
  { ports, signal }: { readonly ports: AgentPorts; readonly signal: AbortSignal | undefined },
): Promise<OpenedConnection> {
  const connection = await ports.transport.dial({
    ...init.address,
    alpn: ALPN,
    serverName: SERVER_NAME,
    roots: init.roots,
    ...(init.credentials === undefined ? {} : { credentials: init.credentials }),
    limits: {
      maxIncomingStreams: LIMITS.maxStreamsPerConnection,
      ...(init.idleTimeoutMs === undefined ? {} : { idleTimeoutMs: init.idleTimeoutMs }),
    },
    ...(init.answerTimeoutMs === undefined ? {} : { answerTimeoutMs: init.answerTimeoutMs }),
    signal,
  });
  try {
    const serverLeaf = assertServer(connection, init, ports.clock.now());
    const hello: Message<"Hello"> = {
      type: "Hello",
      versions: [...PROTOCOL_VERSIONS],
      features: [],
      nonce: new Uint8Array(randomBytes(LIMITS.nonceBytes)),
    };
    const askedMs = ports.clock.now();
    const answer = await request(connection, hello, "Welcome", { clock: ports.clock, signal });
    assertVersion(answer.message.version);
    // The answer was written half a round trip ago.
    const clockSkewMs = (askedMs + ports.clock.now()) / 2 - Date.parse(answer.message.serverTime);
    warnOfSkew(clockSkewMs, init.address, ports);
    return {
      connection,
      serverLeaf,
      welcome: answer.message,
      helloBody: answer.sentBody,
      welcomeBody: answer.body,
      clockSkewMs,
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** TLS has verified the chain; it takes longer ones than a cluster has, and knows of no intermediate that was tainted. */
function assertServer(
  { peerCertificates }: Connection,
  init: OpenConnectionInit,
  nowMs: number,
): Certificate {
  const [leaf] = peerCertificates;
  if (leaf === undefined) {
    throw new RksError("SERVER_UNTRUSTED", "the server presented no certificate");
  }
  if (!leadsToTrusted(peerCertificates, init)) {
    throw new RksError("SERVER_UNTRUSTED", "the server's chain is none that the cluster makes", {
      suggestion: "Look at `rks ca status` on the control plane.",
    });
  }
  return assertServerLeaf(leaf, { dnsName: SERVER_NAME, now: nowMs });
}

function assertVersion(version: number): void {
  if (PROTOCOL_VERSIONS.includes(version)) return;
  throw new RksError(
    "VERSION_UNSUPPORTED",
    `the control plane chose version ${version}, which was not offered`,
    {
      suggestion: "Update the older side.",
    },
  );
}

function warnOfSkew(skewMs: number, address: SocketAddress, ports: AgentPorts): void {
  if (Math.abs(skewMs) <= MAX_CLOCK_SKEW_MS) return;
  ports.logger.warn("Clock differs from the control plane's", {
    rksAddress: formatAddress(address),
    skewSeconds: Math.round(skewMs / 1000),
  });
}
