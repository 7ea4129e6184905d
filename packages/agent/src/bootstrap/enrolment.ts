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
import { KeyPair } from "../identity/key-pair.js";
import {
  assertPinnedRoot,
  findPinnedRoot,
  loadRootCertificates,
  type TrustOptions,
} from "../identity/trust.js";
import type { AgentPorts } from "../ports.js";
import { readCertificateAnswer } from "./certificate-answer.js";
import { joinApplication } from "./join-application.js";
import { openConnection } from "./open-connection.js";
import { RksAddresses } from "./rks-addresses.js";

export interface EnrolmentOptions extends TrustOptions {
  /** `host:port` of the control plane; of several, separated by commas. */
  readonly rksAddress: string;
  /** The same, read already: what one stage has learnt of them the next one knows. */
  readonly addresses?: RksAddresses | undefined;
  /** As `rks gen join-token` printed it, or parsed. */
  readonly joinToken: string | JoinToken;
  /** Default: the name bound to the token, else the common name of `csr`, else this host's name in lower case. */
  readonly nodeName?: string | undefined;
  /** What the token is for; default `node`. */
  readonly role?: "node" | "operator" | undefined;
  /** Default: a new P-256 key pair. */
  readonly keyPair?: KeyPair | undefined;
  /** A certification request (DER) made with `keyPair`; default: one made here. */
  readonly csr?: Uint8Array | undefined;
}

interface EnrolmentInit {
  readonly addresses: RksAddresses;
  readonly token: JoinToken;
  readonly role: "node" | "operator";
  /** Undefined: the root that the token pins, whatever its certificate. */
  readonly roots: readonly Uint8Array[] | undefined;
  readonly keyPair: KeyPair;
  readonly csr: Uint8Array;
  readonly nodeName: string | undefined;
}

/** A request for a certificate that is ready to be made, as often as it takes: always the same key and request. */
export class Enrolment implements Disposable {
  readonly #init: EnrolmentInit;
  #keyPairIsOurs: boolean;

  constructor(init: EnrolmentInit, options: { readonly keyPairIsOurs: boolean }) {
    this.#init = init;
    this.#keyPairIsOurs = options.keyPairIsOurs;
  }

  /** What is sent for a certificate, and the token that entitles to it. They stay the enrolment's. */
  get request(): Pick<EnrolmentInit, "token" | "keyPair" | "csr" | "nodeName"> {
    return this.#init;
  }

  /**
   * Make the request once, on a connection and with nonces of its own. The identity owns the key pair.
   * @throws {RksError} as `requestCertificate`.
   */
  async enrol(
    ports: AgentPorts,
    { signal }: { readonly signal: AbortSignal | undefined },
  ): Promise<Identity> {
    return this.#init.addresses.use((address) => this.#enrolAt(address, ports, signal));
  }

  /** Overwrite the key pair, unless it is the caller's or has become an identity's. */
  [Symbol.dispose](): void {
    if (this.#keyPairIsOurs) this.#init.keyPair[Symbol.dispose]();
  }

  async #enrolAt(
    address: SocketAddress,
    ports: AgentPorts,
    signal: AbortSignal | undefined,
  ): Promise<Identity> {
    const { addresses, token, role, keyPair, csr, nodeName } = this.#init;
    const { answerTimeoutMs } = addresses.patience;
    const roots = this.#init.roots ?? [await this.#fetchPinnedRoot(address, ports, signal)];
    const opened = await openConnection({ address, roots, answerTimeoutMs }, { ports, signal });
    await using connection = opened.connection;
    const { message, body } = await request(
      connection,
      { type: "CertificateSign", ...joinApplication(opened, this.#init) },
      "Certificate",
      { clock: ports.clock, signal },
    );
    const identity = readCertificateAnswer(message, {
      role,
      keyPair,
      tokenId: token.id,
      nodeName,
      roots,
      // This host's clock may be off; what dates the certificate is the control plane's.
      nowMs: Date.parse(opened.welcome.serverTime),
      exchange: { csr, answer: body },
    });
    this.#keyPairIsOurs = false;
    return identity;
  }

  async #fetchPinnedRoot(
    address: SocketAddress,
    ports: AgentPorts,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    const { token, addresses } = this.#init;
    const chain = await ports.transport.probe({
      ...address,
      ...addresses.probing,
      alpn: ALPN,
      serverName: SERVER_NAME,
      signal,
    });
    return findPinnedRoot(chain, { pin: token.rootSpkiSha256, nowMs: ports.clock.now() });
  }
}

/**
 * Check the options and make what they leave out. Nothing is sent. A key pair of the caller's stays so, unless
 * `keyPairIsOurs`.
 * @throws {RksError} USAGE_INVALID, JOIN_TOKEN_MALFORMED, NODE_NAME_INVALID, CONFIG_INVALID, CA_PIN_MISMATCH, CSR_INVALID.
 */
export async function prepareEnrolment(
  options: EnrolmentOptions,
  { keyPairIsOurs = options.keyPair === undefined }: { readonly keyPairIsOurs?: boolean } = {},
): Promise<Enrolment> {
  const { nodeName, role = "node" } = options;
  if (role === "operator" && nodeName !== undefined) throw new TypeError("an operator has no node name");
  if (options.csr !== undefined && options.keyPair === undefined) {
    throw new TypeError("a request of your own needs the key pair that signed it");
  }
  const addresses = options.addresses ?? RksAddresses.parse(options.rksAddress);
  const token = typeof options.joinToken === "string" ? parseJoinToken(options.joinToken) : options.joinToken;
  if (nodeName !== undefined) assertNodeName(nodeName);
  const roots = await loadRootCertificates(options);
  if (roots !== undefined) assertPinnedRoot(roots, token.rootSpkiSha256);

  const keyPair = options.keyPair ?? KeyPair.create();
  try {
    const commonName = role === "node" ? (nodeName ?? ownNodeName()) : undefined;
    const csr = options.csr ?? createCertificateRequest(keyPair, { commonName });
    assertRequestFor(csr, keyPair);
    return new Enrolment({ addresses, token, role, roots, keyPair, csr, nodeName }, { keyPairIsOurs });
  } catch (error) {
    if (keyPairIsOurs) keyPair[Symbol.dispose]();
    throw error;
  }
}

/** This host's name as a node may have it: the first label, in lower case. Undefined for a host without a name. */
export function ownNodeName(): string | undefined {
  return hostname().split(".", 1)[0]!.toLowerCase() || undefined;
}
