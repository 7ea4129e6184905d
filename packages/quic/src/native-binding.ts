/**
 * The part of `@matrixai/quic`'s native binding (quiche 0.18 and BoringSSL through N-API) that this package calls.
 * It is described here, and loaded untyped, because the package's own declarations need the DOM's types. Only
 * the binding is loaded (18 ms), not the classes around it (160 ms), which this package does not use.
 */
export interface NativeQuiche {
  readonly PROTOCOL_VERSION: number;
  readonly MAX_DATAGRAM_SIZE: number;
  readonly Config: NativeConfigConstructor;
  readonly Connection: NativeConnectionConstructor;
  /** Write a Version Negotiation packet (RFC 9000 §17.2.1) and return its length. */
  negotiateVersion(scid: Uint8Array, dcid: Uint8Array, out: Uint8Array): number;
  /** Write a Retry packet (RFC 9000 §17.2.5) and return its length. */
  retry(
    scid: Uint8Array,
    dcid: Uint8Array,
    newScid: Uint8Array,
    token: Uint8Array,
    version: number,
    out: Uint8Array,
  ): number;
  versionIsSupported(version: number): boolean;
}

interface NativeConfigConstructor {
  /** PEM in, all of it copied. Only the first key and certificate chain are used. */
  withBoringSslCtx(
    verifyPeer: boolean,
    verifyAllowFail: boolean,
    ca: Uint8Array | undefined,
    key: Uint8Array[] | undefined,
    cert: Uint8Array[] | undefined,
    sigalgs: string | undefined,
  ): NativeConfig;
}

export interface NativeConfig {
  /** Ask for the peer's certificate and check it if there is one; on a server it stays optional. */
  verifyPeer(verify: boolean): void;
  grease(grease: boolean): void;
  setApplicationProtos(protocols: string[]): void;
  setMaxIdleTimeout(milliseconds: number): void;
  setMaxRecvUdpPayloadSize(bytes: number): void;
  setMaxSendUdpPayloadSize(bytes: number): void;
  setInitialMaxData(bytes: number): void;
  setInitialMaxStreamDataBidiLocal(bytes: number): void;
  setInitialMaxStreamDataBidiRemote(bytes: number): void;
  setInitialMaxStreamDataUni(bytes: number): void;
  setInitialMaxStreamsBidi(count: number): void;
  setInitialMaxStreamsUni(count: number): void;
  setMaxStreamWindow(bytes: number): void;
  setMaxConnectionWindow(bytes: number): void;
  setDisableActiveMigration(disable: boolean): void;
  setActiveConnectionIdLimit(count: number): void;
  /** For connections that are accepted from now on. */
  setStatelessResetToken(token: bigint): void;
  enablePacing(enable: boolean): void;
}

interface NativeConnectionConstructor {
  connect(
    serverName: string,
    scid: Uint8Array,
    local: NativeAddress,
    remote: NativeAddress,
    config: NativeConfig,
  ): NativeConnection;
  accept(
    scid: Uint8Array,
    originalDcid: Uint8Array | undefined,
    local: NativeAddress,
    remote: NativeAddress,
    config: NativeConfig,
  ): NativeConnection;
}

/** Methods throw `Error` with quiche's error name as message, such as `StreamReset(42)`. */
export interface NativeConnection {
  recv(datagram: Uint8Array, info: { from: NativeAddress; to: NativeAddress }): number;
  /** Write the next datagram; null when there is nothing to send. */
  send(out: Uint8Array): [number, { to: NativeAddress }] | null;
  streamRecv(id: number, out: Uint8Array): [number, boolean] | null;
  /** Bytes taken; null when none can be taken now. */
  streamSend(id: number, bytes: Uint8Array, fin: boolean): number | null;
  /** @throws when the peer stopped the stream, or when it is over. */
  streamCapacity(id: number): number;
  streamShutdown(id: number, direction: NativeShutdown, code: number): void | null;
  peerStreamsLeftBidi(): number;
  isReadable(): boolean;
  readable(): Iterable<number>;
  /** Milliseconds, cut, until `onTimeout` must be called; null for never. */
  timeout(): number | null;
  onTimeout(): void;
  sendAckEliciting(): void;
  close(application: boolean, code: number, reason: Uint8Array): void | null;
  applicationProto(): Uint8Array;
  serverName(): string | null;
  peerCertChain(): Uint8Array[] | null;
  isEstablished(): boolean;
  isResumed(): boolean;
  isDraining(): boolean;
  isClosed(): boolean;
  isTimedOut(): boolean;
  peerError(): NativeConnectionError | null;
  localError(): NativeConnectionError | null;
}

/** `streamShutdown` directions: reading sends STOP_SENDING, writing sends RESET_STREAM. */
export const SHUTDOWN_READ = 0;
export const SHUTDOWN_WRITE = 1;
type NativeShutdown = typeof SHUTDOWN_READ | typeof SHUTDOWN_WRITE;

/** An IP address, without brackets or zone, and a port. */
export interface NativeAddress {
  host: string;
  port: number;
}

/** What a CONNECTION_CLOSE frame said (RFC 9000 §19.19). */
export interface NativeConnectionError {
  isApp: boolean;
  errorCode: number;
  reason: Uint8Array;
}

/**
 * Load the binding, once per process (the module system remembers it).
 * @throws Error when there is none for this platform.
 */
export async function loadNative(): Promise<NativeQuiche> {
  const specifier: string = "@matrixai/quic/native/quiche.js";
  const module = (await import(specifier)) as { default: NativeQuiche };
  return module.default;
}
