/**
 * The one way bytes travel between agent and control plane: authenticated connections that carry many
 * ordered byte streams. `packages/quic` implements it over QUIC (RFC 9000); `testing/` holds a memory
 * implementation and the contract suite that both pass.
 */
export interface Transport {
  /** Accept connections on a local address. @throws {RksError} UNREACHABLE when the address cannot be bound, CONFIG_INVALID for credentials that cannot be used. */
  listen(options: ListenOptions): Promise<Listener>;
  /**
   * Connect and verify the server: its chain must end in one of `roots`, its name must be `serverName`, its
   * dates must hold. What the leaf is allowed to do (exactly one EKU, exact name) is *not* checked here.
   * Resolves when the handshake is done on this side; the server may still refuse the client certificate
   * (`CLIENT_CERTIFICATE_REFUSED` then ends the first stream).
   * @throws {RksError} UNREACHABLE, TIMED_OUT, SERVER_UNTRUSTED, SERVER_NAME_MISMATCH, CONFIG_INVALID;
   * VERSION_UNSUPPORTED when the server does not speak `alpn`; the signal's reason when it is aborted.
   */
  dial(options: DialOptions): Promise<Connection>;
  /**
   * Fetch the certificate chain that a server presents, **without verifying it**, and close. No stream is
   * ever opened, nothing is sent. Only good for looking for a certificate whose digest is already known.
   */
  probe(options: ProbeOptions): Promise<readonly Uint8Array[]>;
}

/** A certificate and its key as this side presents them. */
export interface Credentials {
  /** DER, leaf first, each followed by its issuer. */
  readonly certificateChain: readonly Uint8Array[];
  /** PKCS#8 DER. The transport overwrites it with zeros once the TLS stack holds its own copy. */
  readonly privateKey: Uint8Array;
}

export interface SocketAddress {
  /** An IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Bounds on one connection; each has a default in `limits.ts`. */
export interface ConnectionLimits {
  /** Both sides drop the connection after this long without a packet. */
  readonly idleTimeoutMs?: number;
  /** A connection that is not established by then is dropped. */
  readonly handshakeTimeoutMs?: number;
  /** Ping this often when nothing else is sent; 0 never. Must be shorter than the idle timeout. */
  readonly keepAliveIntervalMs?: number;
  /** Bidirectional streams that the peer may have open at once. */
  readonly maxIncomingStreams?: number;
}

export interface ServerConfig {
  readonly credentials: Credentials;
  /** DER certificates that client certificates must chain to. A client may also present none. */
  readonly clientRoots: readonly Uint8Array[];
}

export interface ListenOptions extends ServerConfig {
  /** An IP address or host name. */
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  readonly alpn: readonly string[];
  readonly limits?: ConnectionLimits;
  /** Connections whose handshake is not finished, all peers together; further ones are dropped unanswered. */
  readonly maxHandshakes?: number;
  /** Established connections; further ones are closed with `CLOSE_CODES.BUSY`. */
  readonly maxConnections?: number;
  /**
   * 32 secret random bytes. A listener with the key of one before it, in another process too, tells the clients of that
   * one's connections that they are gone as soon as they send something. Default: new ones.
   */
  readonly resetKey?: Uint8Array | undefined;
}

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly alpn: string;
  /** The name that the server's certificate must carry as DNS subjectAltName. */
  readonly serverName: string;
  /** DER certificates; the only ones trusted. */
  readonly roots: readonly Uint8Array[];
  readonly credentials?: Credentials;
  readonly limits?: ConnectionLimits;
  /** Give up with TIMED_OUT after this when nothing at all was heard of the server; default: `handshakeTimeoutMs`. */
  readonly answerTimeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface ProbeOptions {
  readonly host: string;
  readonly port: number;
  readonly alpn: string;
  readonly serverName: string;
  readonly limits?: ConnectionLimits;
  readonly signal?: AbortSignal | undefined;
}

export interface Listener extends AsyncDisposable {
  readonly address: SocketAddress;
  /** Established connections in order of arrival; ends when the listener is closed. One reader only. */
  connections(): AsyncIterable<Connection>;
  /** Use other credentials and roots for connections that begin from now on. @throws {RksError} CONFIG_INVALID, and nothing changes. */
  updateConfig(config: ServerConfig): void;
  /** Stop accepting, close every connection with `code`, release the address. Idempotent. */
  close(options?: CloseOptions): Promise<void>;
}

export interface CloseOptions {
  /** Application error code; 0 is a normal end. */
  readonly code?: number;
  /** Shown to the peer; at most 256 bytes of UTF-8. */
  readonly reason?: string;
}

/** Why a connection ended. */
export interface ConnectionEnd {
  /** `local` and `peer`: closed by that side's application; `lost`: idle, timed out or a transport error. */
  readonly by: "local" | "peer" | "lost";
  /** Application code when closed by an application. */
  readonly code: number | undefined;
  readonly reason: string;
  /** What a pending read or write on the connection is rejected with. */
  readonly error: Error;
}

export interface Connection extends AsyncDisposable {
  readonly remoteAddress: SocketAddress;
  readonly localAddress: SocketAddress;
  readonly alpn: string;
  /** What the peer presented: DER, leaf first; empty for a client without a certificate. */
  readonly peerCertificates: readonly Uint8Array[];
  /** What this side presented on this very connection: DER, leaf first; empty for a client without one. */
  readonly localCertificates: readonly Uint8Array[];
  /** Name the client asked for (SNI), on the server side; the dialled name on the client side. */
  readonly serverName: string | undefined;
  /** Resolves, never rejects, when the connection has ended for whatever reason. */
  readonly ended: Promise<ConnectionEnd>;
  /** Open a bidirectional stream; waits while the peer allows no more. @throws {RksError} CONNECTION_LOST. */
  openStream(options?: { readonly signal?: AbortSignal | undefined }): Promise<Stream>;
  /** Streams opened by the peer; ends with the connection. One reader only. */
  incomingStreams(): AsyncIterable<Stream>;
  /** Tell the peer and end. What was written but not yet acknowledged may be lost. Idempotent. */
  close(options?: CloseOptions): Promise<void>;
}

/** One ordered byte stream in each direction. */
export interface Stream {
  /**
   * The next bytes, or undefined after the peer's end. At most one read at a time. The array belongs to the
   * caller.
   * @throws {RksError} STREAM_RESET when the peer reset the stream, CONNECTION_LOST.
   */
  read(options?: { readonly signal?: AbortSignal | undefined }): Promise<Uint8Array | undefined>;
  /**
   * Queue bytes; resolves when the stream can take more (back-pressure). The caller must not change the array
   * before that. At most one write at a time; of an aborted write a part may have been sent, so reset the stream then.
   * @throws {RksError} STREAM_RESET when the peer no longer reads, CONNECTION_LOST.
   */
  write(bytes: Uint8Array, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Send the end of this direction after everything written. Idempotent. */
  end(): void;
  /** Give up both directions at once; the peer's reads and writes fail with STREAM_RESET. Idempotent. */
  reset(code?: number): void;
}
