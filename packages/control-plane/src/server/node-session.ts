import {
  type Clock,
  type CloseCode,
  type Connection,
  LIMITS,
  openStreamInTime,
  RksError,
  type SocketAddress,
  type Stream,
} from "@rk8s/protocol";
import { TokenBucket } from "../join/token-bucket.js";
import type { NodeLink } from "../nodes/node-link.js";
import type { NodeCertificate } from "../nodes/node-record.js";
import { closeConnection } from "./close-connection.js";
import { closeAfter } from "./close-timer.js";
import type { NodeIdentity } from "./peer-identity.js";

/** Changes that a node may have written down: all its pods twice at once, then one every 20 ms. */
const CHANGES = { capacity: 2 * LIMITS.maxPodsPerNode, perSecond: 50 };

/** Renewals over one connection: one is needed; the rest is for lost answers and changes of trust. */
const RENEWALS = { capacity: 10, perSecond: 0.5 };

/** How long streams may go on over a connection that another one replaced. */
const DRAIN_MS = 60_000;

/** A node's connection as the rest of the control plane uses it: to ask the node, and to end it. */
export class NodeSession implements NodeLink {
  readonly nodeName: string;
  /** What the connection was opened with. */
  readonly certificate: NodeCertificate;
  readonly certificateNotAfter: number;
  readonly ended: AbortSignal;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #changes: TokenBucket;
  readonly #renewals: TokenBucket;
  #generation: number | undefined;

  constructor(
    identity: NodeIdentity,
    connection: Connection,
    ended: AbortSignal,
    ports: { readonly clock: Clock },
  ) {
    this.#clock = ports.clock;
    this.#changes = new TokenBucket(CHANGES, ports);
    this.#renewals = new TokenBucket(RENEWALS, ports);
    const { name, serialNumber, spkiSha256, notAfter } = identity;
    this.nodeName = name;
    this.certificate = { serialNumber, spkiSha256, notAfter: new Date(notAfter).toISOString() };
    this.certificateNotAfter = notAfter;
    this.ended = ended;
    this.#connection = connection;
  }

  get remoteAddress(): SocketAddress {
    return this.#connection.remoteAddress;
  }

  /**
   * Count a message that makes the control plane write.
   * @throws {RksError} BUSY when the node sends too many.
   */
  chargeChange(): void {
    if (this.#changes.take()) return;
    throw new RksError("BUSY", `node "${this.nodeName}" reports more changes than it may`, {
      suggestion: "Send it again in a second.",
    });
  }

  /**
   * Which of the node's certificates this is, counted from its first join; 0 until `admitOnce`. Greater is newer.
   */
  get generation(): number {
    return this.#generation ?? 0;
  }

  /** Let the certificate be used, once a connection; a failure is tried again with the next call. */
  async admitOnce(use: (certificate: NodeCertificate) => Promise<number>): Promise<void> {
    this.#generation ??= await use(this.certificate);
  }

  /**
   * Count a request for a certificate.
   * @throws {RksError} BUSY when the node asks for too many.
   */
  chargeRenewal(): void {
    if (this.#renewals.take()) return;
    throw new RksError("BUSY", `node "${this.nodeName}" renews its certificate more often than it may`, {
      suggestion: "Renew at two thirds of the certificate's lifetime.",
    });
  }

  /**
   * Ends a connection on which the node grants no stream in time; it connects again.
   * @throws {RksError} TIMED_OUT, CONNECTION_LOST.
   */
  openStream(options?: { readonly signal?: AbortSignal | undefined }): Promise<Stream> {
    return openStreamInTime(this.#connection, { clock: this.#clock, ...options });
  }

  drain(message: string): void {
    const { ended } = this;
    closeAfter(this.#connection, DRAIN_MS, { code: "CONFLICT", message }, { clock: this.#clock, ended });
  }

  close(code: CloseCode, message: string): void {
    closeConnection(this.#connection, code, message);
  }
}
