import {
  openStreamInTime,
  request,
  type Answer,
  type Clock,
  type Connection,
  type ConnectionEnd,
  type MessageType,
  type RksMessage,
  type SocketAddress,
  type Stream,
  type StreamOpener,
} from "@rk8s/protocol";
import type { Certificate } from "@rk8s/x509";
import type { OpenedConnection } from "../bootstrap/open-connection.js";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** A connection to the control plane that both sides have accepted, by mutual TLS. */
export class RksConnection implements StreamOpener, AsyncDisposable {
  /** The server's leaf certificate, checked. */
  readonly serverCertificate: Certificate;
  /** Protocol version that both sides speak. */
  readonly version: number;
  /** What the control plane's clock said when it greeted. */
  readonly serverTime: Date;
  readonly #connection: Connection;
  readonly #clock: Clock;

  constructor(opened: OpenedConnection, options: { readonly clock: Clock }) {
    this.serverCertificate = opened.serverLeaf;
    this.version = opened.welcome.version;
    this.serverTime = new Date(opened.welcome.serverTime);
    this.#connection = opened.connection;
    this.#clock = options.clock;
  }

  get remoteAddress(): SocketAddress {
    return this.#connection.remoteAddress;
  }

  get localAddress(): SocketAddress {
    return this.#connection.localAddress;
  }

  /** Resolves, never rejects, when the connection has ended for whatever reason. */
  get ended(): Promise<ConnectionEnd> {
    return this.#connection.ended;
  }

  /**
   * Ask one thing on a stream of its own and wait for the answer, 10 s by default.
   * @throws {RksError} what the control plane answers; MESSAGE_UNEXPECTED when the answer is of another type than
   * `expected`; TIMED_OUT; CONNECTION_LOST.
   */
  async request<T extends MessageType>(
    message: RksMessage,
    expected: T,
    options: CallOptions & { readonly timeoutMs?: number } = {},
  ): Promise<Answer<T>["message"]> {
    const answer = await request(this, message, expected, { clock: this.#clock, ...options });
    return answer.message;
  }

  /**
   * A bare stream, for what `request` does not do. A connection on which none is granted in time is closed.
   * @throws {RksError} TIMED_OUT, CONNECTION_LOST.
   */
  async openStream(options?: CallOptions): Promise<Stream> {
    return openStreamInTime(this.#connection, { clock: this.#clock, ...options });
  }

  /** Streams that the control plane opens. One reader only. */
  incomingStreams(): AsyncIterable<Stream> {
    return this.#connection.incomingStreams();
  }

  /** Tell the control plane and end. Idempotent. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
