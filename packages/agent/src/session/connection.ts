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
import { collectSoon } from "../identity/collect-soon.js";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

interface RequestCallOptions extends CallOptions {
  readonly timeoutMs?: number;
}

/** A connection to the control plane that both sides have accepted, by mutual TLS. */
export class RksConnection implements StreamOpener, AsyncDisposable {
  /** The server's leaf certificate, checked. */
  readonly serverCertificate: Certificate;
  /** Protocol version that both sides speak. */
  readonly version: number;
  /** What the control plane's clock said when it greeted. */
  readonly serverTime: Date;
  /** By how much this host's clock was ahead of it then, behind it when negative; milliseconds. */
  readonly clockSkewMs: number;
  /** The body of its greeting, which proofs for this connection sign. */
  readonly welcomeBody: Uint8Array;
  /** The body of the Hello before it, likewise. */
  readonly helloBody: Uint8Array;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #greetedMs: number;

  constructor(opened: OpenedConnection, options: { readonly clock: Clock }) {
    this.serverCertificate = opened.serverLeaf;
    this.version = opened.welcome.version;
    this.serverTime = new Date(opened.welcome.serverTime);
    this.clockSkewMs = opened.clockSkewMs;
    this.#connection = opened.connection;
    this.#clock = options.clock;
    this.#greetedMs = options.clock.monotonicMs();
    this.welcomeBody = opened.welcomeBody;
    this.helloBody = opened.helloBody;
  }

  get remoteAddress(): SocketAddress {
    return this.#connection.remoteAddress;
  }

  get localAddress(): SocketAddress {
    return this.#connection.localAddress;
  }

  /** What the control plane's clock says now, in milliseconds, as far as its greeting tells. */
  get serverNowMs(): number {
    return this.serverTime.getTime() + this.#clock.monotonicMs() - this.#greetedMs;
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
    options: RequestCallOptions = {},
  ): Promise<Answer<T>["message"]> {
    return (await this.ask(message, expected, options)).message;
  }

  /** As `request`; gives the bodies as they were on the wire, too. */
  async ask<T extends MessageType>(
    message: RksMessage,
    expected: T,
    options: RequestCallOptions = {},
  ): Promise<Answer<T>> {
    return request(this, message, expected, { clock: this.#clock, ...options });
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

  /** Tell the control plane and end; the TLS stack's copy of the key goes soon after. Idempotent. */
  async close(): Promise<void> {
    await this.#connection.close();
    collectSoon();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
