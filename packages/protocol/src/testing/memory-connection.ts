import { RksError } from "../errors.js";
import type { CloseOptions, Connection, ConnectionEnd, SocketAddress, Stream } from "../transport.js";
import { Arrivals } from "./arrivals.js";
import { Bell } from "./bell.js";
import type { MemoryFault, MemoryFaults } from "./memory-fault.js";
import type { MemoryLink } from "./memory-link.js";
import { MemoryStream } from "./memory-stream.js";

/** What one end of a connection is, decided by the handshake. */
export interface MemoryConnectionInit {
  readonly side: MemoryFault["from"];
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  readonly alpn: string;
  readonly serverName: string;
  readonly localCertificates: readonly Uint8Array[];
  readonly peerCertificates: readonly Uint8Array[];
  /** Streams that this side may have open at once: the peer's limit. */
  readonly maxOutgoingStreams: number;
  /** Streams that the peer may have open at once. */
  readonly maxIncomingStreams: number;
  readonly bufferBytes: number;
}

/** One end of a connection in memory. */
export class MemoryConnection implements Connection {
  readonly remoteAddress: SocketAddress;
  readonly localAddress: SocketAddress;
  readonly alpn: string;
  readonly serverName: string;
  readonly peerCertificates: readonly Uint8Array[];
  readonly localCertificates: readonly Uint8Array[];
  readonly ended: Promise<ConnectionEnd>;

  readonly #side: MemoryFault["from"];
  readonly #bufferBytes: number;
  readonly #link: MemoryLink;
  readonly #faults: MemoryFaults;
  readonly #streams = new Set<MemoryStream>();
  readonly #incoming: Arrivals<Stream>;
  readonly #streamsAllowed = new Bell();
  #outgoingLeft: number;
  #peer: MemoryConnection | undefined;
  #end: ConnectionEnd | undefined;
  #resolveEnded: (end: ConnectionEnd) => void = () => undefined;

  constructor(init: MemoryConnectionInit, link: MemoryLink, faults: MemoryFaults) {
    this.remoteAddress = init.remoteAddress;
    this.localAddress = init.localAddress;
    this.alpn = init.alpn;
    this.serverName = init.serverName;
    this.peerCertificates = init.peerCertificates;
    this.localCertificates = init.localCertificates;
    this.#side = init.side;
    this.#bufferBytes = init.bufferBytes;
    this.#outgoingLeft = init.maxOutgoingStreams;
    this.#incoming = new Arrivals(init.maxIncomingStreams);
    this.#link = link;
    this.#faults = faults;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  /** Make two ends one connection. */
  static join(a: MemoryConnection, b: MemoryConnection): void {
    a.#peer = b;
    b.#peer = a;
  }

  async openStream(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Stream> {
    options.signal?.throwIfAborted();
    for (;;) {
      if (this.#end !== undefined) throw this.#end.error;
      if (this.#outgoingLeft > 0) break;
      await this.#streamsAllowed.wait(options.signal);
    }
    this.#outgoingLeft--;
    const peer = this.#peer!;
    const own = this.#makeStream(() => undefined);
    const theirs = peer.#makeStream(() => this.#allowStream());
    MemoryStream.join(own, theirs);
    this.#link.send(() => peer.#accept(theirs));
    return own;
  }

  incomingStreams(): AsyncIterable<Stream> {
    return this.#incoming;
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const { code = 0, reason = "" } = options;
    const lost = (by: string): RksError =>
      new RksError("CONNECTION_LOST", `the connection was closed by ${by} with code ${code}`);
    this.#link.send(() => this.#peer?.finish({ by: "peer", code, reason, error: lost("the peer") }));
    this.finish({ by: "local", code, reason, error: lost("this side") });
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Lose the connection: both ends see it at once. */
  lose(error = new RksError("CONNECTION_LOST", "the connection was lost")): void {
    const end: ConnectionEnd = { by: "lost", code: undefined, reason: error.message, error };
    this.#link.cut();
    if (this.#peer !== undefined) this.#peer.#link.cut();
    this.finish(end);
    this.#peer?.finish(end);
  }

  /** End this side; only the first call counts. */
  finish(end: ConnectionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    for (const stream of this.#streams) stream.fail(end.error);
    this.#incoming.close();
    this.#streamsAllowed.ring();
    this.#resolveEnded(end);
  }

  #makeStream(onReleased: () => void): MemoryStream {
    const stream = new MemoryStream(
      {
        send: (deliver) => this.#link.send(deliver),
        takeFault: () => this.#faults.take(this.#side),
        lose: () => this.lose(),
        released: () => {
          this.#streams.delete(stream);
          onReleased();
        },
      },
      this.#bufferBytes,
    );
    this.#streams.add(stream);
    return stream;
  }

  #accept(stream: MemoryStream): void {
    if (!this.#incoming.add(stream)) stream.reset();
  }

  /** Tell the peer, which opened the stream, that it may open another one. */
  #allowStream(): void {
    this.#peer!.#link.send(() => {
      this.#outgoingLeft++;
      this.#streamsAllowed.ring();
    });
  }
}
