import { hostname } from "node:os";
import {
  ALPN,
  assertNodeName,
  parseJoinToken,
  request,
  SERVER_NAME,
  type JoinToken,
  type SocketAddress,
} from "@rk8s/protocol";
import { assertRequestFor, createCertificateRequest } from "../identity/csr.js";
import type { Identity } from "../identity/identity.js";
import { signJoinProof } from "../identity/join-proof.js";
import { KeyPair } from "../identity/key-pair.js";
import {
  assertPinnedRoot,
  findPinnedRoot,
  loadRootCertificates,
  type TrustOptions,
} from "../identity/trust.js";
import { completePorts, type AgentPorts, type PortOptions } from "../ports.js";
import { parseRksAddress } from "./address.js";
import { readCertificateAnswer } from "./certificate-answer.js";
import { openConnection } from "./open-connection.js";
import { retry } from "./retry.js";

export interface RequestCertificateOptions extends TrustOptions, PortOptions {
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  /** As `rks gen join-token` printed it, or parsed. */
  readonly joinToken: string | JoinToken;
  /** Default: the name bound to the token, else this host's name in lower case. */
  readonly nodeName?: string | undefined;
  /** What the token is for; default `node`. */
  readonly role?: "node" | "operator" | undefined;
  /** Default: a new P-256 key pair. The identity owns it on success; on failure it stays the caller's. */
  readonly keyPair?: KeyPair | undefined;
  /** A certification request (DER) made with `keyPair`; default: one made here. */
  readonly csr?: Uint8Array | undefined;
  /** How often to try in all when the failure is a passing one; default 4. Each try has a connection of its own. */
  readonly maxAttempts?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_MAX_ATTEMPTS = 4;

/**
 * Exchange a join token for a certificate: verify the control plane, prove possession of the token, send a
 * certification request, check the answer. Nothing is written anywhere; the connection is closed afterwards.
 *
 * When an answer is lost the same key asks again and gets the same bytes, so the token is not burnt.
 * @throws {RksError} USAGE_INVALID, JOIN_TOKEN_MALFORMED, NODE_NAME_INVALID, CONFIG_INVALID, CSR_INVALID before
 * anything is sent; CA_PIN_MISMATCH, SERVER_UNTRUSTED, SERVER_NAME_MISMATCH when the server is not the token's;
 * JOIN_TOKEN_INVALID, JOIN_TOKEN_EXPIRED, JOIN_TOKEN_USED, JOIN_TOKEN_REVOKED, JOIN_TOKEN_SCOPE, NODE_NAME_TAKEN,
 * NODE_BANNED, KEY_TOO_WEAK … as the server answers; CERTIFICATE_INVALID when its answer does not hold;
 * UNREACHABLE, TIMED_OUT, CONNECTION_LOST and other retryable codes when every attempt failed.
 */
export async function requestCertificate(options: RequestCertificateOptions): Promise<Identity> {
  const { signal } = options;
  const address = parseRksAddress(options.rksAddress);
  const token = readJoinToken(options.joinToken);
  const { nodeName, role = "node" } = options;
  if (role === "operator" && nodeName !== undefined) throw new TypeError("an operator has no node name");
  if (nodeName !== undefined) assertNodeName(nodeName);
  const roots = await loadRootCertificates(options);
  if (roots !== undefined) assertPinnedRoot(roots, token.rootSpkiSha256);
  const ports = await completePorts(options);
  const keyPair = ownKeyPair(options);
  try {
    const commonName = role === "operator" ? "operator" : (nodeName ?? ownHostName());
    const csr = options.csr ?? (await createCertificateRequest(keyPair, { commonName }));
    assertRequestFor(csr, keyPair);
    const ask: Enrolment = { address, token, role, roots, keyPair, csr, nodeName };
    return await retry(() => enrol(ask, { ports, signal }), {
      ...ports,
      maxAttempts: options.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      signal,
    });
  } catch (error) {
    if (options.keyPair === undefined) keyPair[Symbol.dispose]();
    throw error;
  }
}

/** One request for a certificate, complete. */
interface Enrolment {
  readonly address: SocketAddress;
  readonly token: JoinToken;
  readonly role: "node" | "operator";
  readonly roots: readonly Uint8Array[] | undefined;
  readonly keyPair: KeyPair;
  readonly csr: Uint8Array;
  readonly nodeName: string | undefined;
}

interface CallOptions {
  readonly ports: AgentPorts;
  readonly signal: AbortSignal | undefined;
}

/** One attempt on a connection, with nonces, of its own. */
async function enrol(ask: Enrolment, options: CallOptions): Promise<Identity> {
  const { ports, signal } = options;
  const roots = ask.roots ?? [await fetchPinnedRoot(ask, options)];
  const opened = await openConnection({ address: ask.address, roots }, options);
  await using connection = opened.connection;
  const proof = signJoinProof(ask.token, {
    alpn: ALPN,
    hello: opened.helloBody,
    welcome: opened.welcomeBody,
    serverLeafSpki: opened.serverLeaf.spki,
    csr: ask.csr,
    nodeName: ask.nodeName ?? "",
    role: ask.role,
  });
  const answer = await request(
    connection,
    {
      type: "CertificateSign",
      tokenId: ask.token.id,
      role: ask.role,
      csr: ask.csr,
      ...(ask.nodeName === undefined ? {} : { nodeName: ask.nodeName }),
      proof,
    },
    "Certificate",
    { clock: ports.clock, signal },
  );
  return readCertificateAnswer(answer.message, {
    role: ask.role,
    keyPair: ask.keyPair,
    tokenId: ask.token.id,
    nodeName: ask.nodeName,
    roots,
    nowMs: ports.clock.now(),
  });
}

async function fetchPinnedRoot(ask: Enrolment, options: CallOptions): Promise<Uint8Array> {
  const { ports, signal } = options;
  const chain = await ports.transport.probe({ ...ask.address, alpn: ALPN, serverName: SERVER_NAME, signal });
  return findPinnedRoot(chain, { pin: ask.token.rootSpkiSha256, nowMs: ports.clock.now() });
}

function readJoinToken(token: string | JoinToken): JoinToken {
  return typeof token === "string" ? parseJoinToken(token) : token;
}

/**
 * The name to wish for in the request when none was given: the server takes it unless the token is bound to another.
 */
function ownHostName(): string {
  return hostname().split(".", 1)[0]!.toLowerCase();
}

function ownKeyPair(options: RequestCertificateOptions): KeyPair {
  if (options.keyPair !== undefined) return options.keyPair;
  if (options.csr !== undefined)
    throw new TypeError("a request of your own needs the key pair that signed it");
  return KeyPair.create();
}
