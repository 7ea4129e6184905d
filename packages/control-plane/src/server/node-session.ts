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
import { closeConnection } from "./close-connection.js";

/** Changes that a node may have written down: all its pods twice at once, then one every 20 ms. */
const CHANGES = { capacity: 2 * LIMITS.maxPodsPerNode, perSecond: 50 };

/** A node's connection as the rest of the control plane uses it: to ask the node, and to end it. */
export class NodeSession implements NodeLink {
  readonly nodeName: string;
  readonly certificateNotAfter: number;
  readonly ended: AbortSignal;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #changes: TokenBucket;

  constructor(
    certificate: { readonly name: string; readonly notAfter: number },
    connection: Connection,
    ended: AbortSignal,
    ports: { readonly clock: Clock },
  ) {
    this.#clock = ports.clock;
    this.#changes = new TokenBucket(CHANGES, ports);
    this.nodeName = certificate.name;
    this.certificateNotAfter = certificate.notAfter;
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
   * Ends a connection on which the node grants no stream in time; it connects again.
   * @throws {RksError} TIMED_OUT, CONNECTION_LOST.
   */
  openStream(options?: { readonly signal?: AbortSignal | undefined }): Promise<Stream> {
    return openStreamInTime(this.#connection, { clock: this.#clock, ...options });
  }

  close(code: CloseCode, message: string): void {
    closeConnection(this.#connection, code, message);
  }
}
