import { RksError } from "@rk8s/protocol";
import type {
  CloseOptions,
  Connection,
  ConnectionEnd,
  ConnectionLimits,
  Logger,
  SocketAddress,
  Stream,
} from "@rk8s/protocol";
import type { Endpoint } from "./endpoint.js";
import { connectionEnd, connectionLost, endByLocal, lost } from "./error.js";
import type { NativeEnd } from "./error.js";
import { MAX_CLOSE_REASON_BYTES, MAX_UNANSWERED_DATAGRAMS, SEND_BURST_DATAGRAMS } from "./limits.js";
import type { NativeAddress, NativeConnection } from "./native-binding.js";
import { HandoverQueue } from "./queue.js";
import { asError, onAbort, QuicStream } from "./stream.js";
import { nativeAddress } from "./udp-socket.js";

export interface ConnectionInit {
  readonly native: NativeConnection;
  readonly endpoint: Endpoint;
  /** Our connection id as `latin1` text, by which the endpoint finds the connection. */
  readonly id: string;
  readonly role: "client" | "server";
  readonly remote: SocketAddress;
  /** The dialled name; a server reads the client's choice from the handshake. */
  readonly serverName: string | undefined;
  readonly localCertificates: readonly Uint8Array[];
  readonly limits: Required<ConnectionLimits>;
  readonly scratch: Uint8Array;
  readonly logger: Logger;
  /** The handshake is done and the peer, as far as it has a certificate, is verified. */
  readonly onEstablished: (connection: QuicConnection) => void;
  /** Called once, also for a handshake that came to nothing. */
  readonly onEnded: (connection: QuicConnection, end: ConnectionEnd, native: NativeEnd) => void;
}

/**
 * Where a connection stands. `handshaking → established → ended`, or `handshaking → ended`. An ended one stays with its
 * endpoint for three probe timeouts to answer late datagrams (RFC 9000 §10.2).
 */
type ConnectionState = "handshaking" | "established" | "ended";

interface CreditWaiter {
  readonly resolve: (stream: Stream) => void;
  readonly reject: (reason: unknown) => void;
  readonly detach: () => void;
}

const NOTHING = new Uint8Array(0);
/** A CONNECTION_CLOSE is in the first datagrams after `close`, or it has to wait for a probe timeout. */
const CLOSE_DATAGRAMS = 4;
/**
 * A client that has filled the first congestion window and heard nothing since the handshake cannot close: quiche 0.18
 * has no room for the CONNECTION_CLOSE, makes other datagrams without end, and listens to no acknowledgement any
 * more. From this many datagrams on, the close waits for the server's first sign. The window holds ten.
 */
const CLOSE_WAITS_FROM_DATAGRAMS = 6;
/** How long a close may take to be sent. */
const CLOSE_DEADLINE_MS = 3000;
const STREAM_ID_STEP = 4;
/** Who was heard within this time is not about to be given up, and is not kept waiting for what was lost. */
const SILENCE_MS = 1000;

/** One QUIC connection over a native one, driven by its endpoint and a timer. */
export class QuicConnection implements Connection {
  readonly id: string;
  readonly native: NativeConnection;
  readonly scratch: Uint8Array;
  readonly ended: Promise<ConnectionEnd>;
  readonly remoteAddress: SocketAddress;
  readonly localCertificates: readonly Uint8Array[];
  /** Marks of the endpoint: the connection is in its list of those that have received or are to send. */
  hasInput = false;
  hasOutput = false;
  /** What the lobby has spent on it. */
  costMs = 0;

  readonly #init: ConnectionInit;
  readonly #streams = new Map<number, QuicStream>();
  readonly #incoming = new HandoverQueue<QuicStream>();
  readonly #unclaimed = new Set<QuicStream>();
  readonly #blocked = new Set<QuicStream>();
  readonly #credit: CreditWaiter[] = [];
  readonly #resolveEnded: (end: ConnectionEnd) => void;
  #state: ConnectionState = "handshaking";
  #end: ConnectionEnd | undefined;
  #peerCertificates: readonly Uint8Array[] = [];
  #alpn = "";
  #serverName: string | undefined;
  #nextOwnId: number;
  #nextPeerId: number;
  /** Ids below `#nextPeerId` of which nothing has arrived yet. */
  readonly #skippedPeerIds = new Set<number>();
  /** Where the last datagram came from, for the native connection and as the socket says it. */
  #from: { from: NativeAddress; to: NativeAddress };
  #fromHost: string;
  #hasHeard = false;
  #heardAt: number;
  #unanswered = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = 0;
  #wakeAt = 0;
  #sentAt: number;
  /** A datagram has come since the handshake was done, so the peer knows that it is. */
  #isConfirmed: boolean;
  #pendingClose: { readonly code: number; readonly reason: Uint8Array } | undefined;
  #closingUntil = 0;
  readonly #handshakeDeadline: number;

  constructor(init: ConnectionInit) {
    this.#init = init;
    this.id = init.id;
    this.native = init.native;
    this.scratch = init.scratch;
    this.remoteAddress = init.remote;
    this.localCertificates = init.localCertificates;
    this.#serverName = init.serverName;
    this.#isConfirmed = init.role === "server";
    this.#nextOwnId = init.role === "client" ? 0 : 1;
    this.#nextPeerId = init.role === "client" ? 1 : 0;
    this.#from = { from: nativeAddress(init.remote), to: nativeAddress(init.endpoint.local) };
    this.#fromHost = init.remote.host;
    const now = performance.now();
    this.#sentAt = now;
    this.#heardAt = now;
    this.#handshakeDeadline = now + init.limits.handshakeTimeoutMs;
    let resolveEnded: (end: ConnectionEnd) => void = () => undefined;
    this.ended = new Promise((resolve) => (resolveEnded = resolve));
    this.#resolveEnded = resolveEnded;
    init.endpoint.attach(this);
  }

  get localAddress(): SocketAddress {
    return this.#init.endpoint.local;
  }

  get alpn(): string {
    return this.#alpn;
  }

  get peerCertificates(): readonly Uint8Array[] {
    return this.#peerCertificates;
  }

  get serverName(): string | undefined {
    return this.#serverName;
  }

  /** The handshake is done and the peer has shown a certificate that verifies. */
  get isKnown(): boolean {
    return this.#state !== "handshaking" && this.#peerCertificates.length > 0;
  }

  /** Something has come from the peer's address, whatever it was. */
  get hasHeard(): boolean {
    return this.#hasHeard;
  }

  get isHandshaking(): boolean {
    return this.#state === "handshaking";
  }

  openStream(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Stream> {
    const { signal } = options;
    if (signal?.aborted === true) return Promise.reject(asError(signal.reason));
    if (this.#end !== undefined) return Promise.reject(this.#end.error);
    if (this.#credit.length === 0 && this.native.peerStreamsLeftBidi() > 0)
      return Promise.resolve(this.#createStream());
    return new Promise((resolve, reject) => {
      const waiter: CreditWaiter = {
        resolve,
        reject,
        detach: onAbort(signal, () => {
          const index = this.#credit.indexOf(waiter);
          if (index !== -1) this.#credit.splice(index, 1);
          reject(asError(signal?.reason));
        }),
      };
      this.#credit.push(waiter);
    });
  }

  incomingStreams(): AsyncIterable<Stream> {
    return this.#incoming.values((stream) => this.#unclaimed.delete(stream));
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.closeNow(options);
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** `close`, done when it returns: the peer has been told and everything pending has failed. */
  closeNow(options: CloseOptions = {}): void {
    if (this.#state === "handshaking") {
      this.drop(connectionLost("the connection was closed during the handshake"));
      return;
    }
    this.flush();
    if (this.#end !== undefined) return;
    const { code = 0 } = options;
    const reason = cutReason(options.reason ?? "");
    this.#pendingClose = { code, reason: new TextEncoder().encode(reason) };
    this.#closingUntil = performance.now() + CLOSE_DEADLINE_MS;
    if (this.#isConfirmed || this.#unanswered < CLOSE_WAITS_FROM_DATAGRAMS) this.#sendClose();
    this.#finish(endByLocal(code, reason));
  }

  // — for the endpoint

  /** Take in a datagram; `dispatch` acts on it. */
  receive(datagram: Uint8Array, host: string, port: number): void {
    if (this.#fromHost !== host || this.#from.from.port !== port) {
      this.#fromHost = host;
      this.#from = { from: nativeAddress({ host, port }), to: this.#from.to };
    }
    this.#hasHeard = true;
    this.#heardAt = performance.now();
    this.#unanswered = 0;
    try {
      this.native.recv(datagram, this.#from);
    } catch (reason) {
      // The native connection has noted what is wrong and says so to the peer when it sends next.
      this.#init.logger.debug("Datagram not accepted", {
        remote: this.remoteAddress,
        reason: String(reason),
      });
    }
  }

  /** Act on what has been received: the handshake's end, new and readable streams, new credit. */
  dispatch(): void {
    if (this.#state !== "handshaking") this.#isConfirmed = true;
    if (this.#state === "ended") return;
    if (this.#state === "handshaking") {
      if (!this.native.isEstablished()) return;
      this.#establish();
    }
    if (this.native.isReadable()) for (const id of this.native.readable()) this.#readable(id);
    this.#grantCredit();
  }

  /** Send what there is to send, up to a burst, then look whether the connection has ended, and set the timer. */
  flush(): void {
    if (this.#state === "ended") {
      this.#flushEnded();
      return;
    }
    for (const stream of this.#blocked) if (!stream.pump()) this.#blocked.delete(stream);
    const sent = this.#send(SEND_BURST_DATAGRAMS);
    if (sent > 0) this.#sentAt = performance.now();
    this.#unanswered += sent;
    if (sent === SEND_BURST_DATAGRAMS) {
      if (this.#unanswered > MAX_UNANSWERED_DATAGRAMS) {
        this.#finish(lost(connectionLost("the native connection sent without end")));
        this.#release();
        return;
      }
      this.#init.endpoint.flushNextTurn(this);
    }
    if (this.native.isDraining() || this.native.isClosed()) this.#noteNativeEnd();
    this.#arm();
  }

  /** The peer's host says that nobody is there. Only a handshake believes it: such messages can be forged. */
  refuse(reason: Error): void {
    if (this.#state !== "handshaking") return;
    this.#finish(lost(new RksError("UNREACHABLE", reason.message, { cause: reason })));
    this.#release();
  }

  /** End without a word to the peer and leave the endpoint. */
  drop(error: RksError): void {
    this.#finish(lost(error));
    this.#release();
  }

  /** Leave the endpoint, which is closing: no late datagram will be answered. */
  abandon(): void {
    if (this.#end === undefined) this.#finish(lost(connectionLost("the socket was closed")));
    this.#release();
  }

  // — for streams

  flushSoon(): void {
    this.#init.endpoint.flushSoon(this);
  }

  block(stream: QuicStream): void {
    this.#blocked.add(stream);
    this.flushSoon();
  }

  forget(stream: QuicStream): void {
    this.#streams.delete(stream.id);
    this.#blocked.delete(stream);
    if (this.#unclaimed.delete(stream)) this.#incoming.remove(stream);
  }

  #establish(): void {
    this.#state = "established";
    this.#alpn = new TextDecoder().decode(this.native.applicationProto());
    this.#peerCertificates = this.native.peerCertChain() ?? [];
    if (this.#init.role === "server") this.#serverName = this.native.serverName() ?? undefined;
    this.#init.onEstablished(this);
  }

  #createStream(): QuicStream {
    const stream = new QuicStream(this.#nextOwnId, this);
    this.#nextOwnId += STREAM_ID_STEP;
    this.#streams.set(stream.id, stream);
    // Makes the native stream, so that it counts against the peer's limit from now on (RFC 9000 §4.6).
    this.native.streamSend(stream.id, NOTHING, false);
    return stream;
  }

  #grantCredit(): void {
    while (this.#credit.length > 0 && this.native.peerStreamsLeftBidi() > 0) {
      const waiter = this.#credit.shift();
      waiter?.detach();
      waiter?.resolve(this.#createStream());
    }
  }

  #readable(id: number): void {
    const stream = this.#streams.get(id) ?? this.#acceptStream(id);
    if (stream === undefined) {
      this.#discard(id);
      return;
    }
    stream.pull();
    // Nobody knows it yet, and there is nothing to be read from it any more.
    if (stream.isReadFailed && this.#unclaimed.has(stream)) stream.reset();
  }

  /** @returns undefined for a stream that this side has given up, whose remains still arrive. */
  #acceptStream(id: number): QuicStream | undefined {
    const isOwn = id % 2 === this.#nextOwnId % 2;
    if (isOwn || (id < this.#nextPeerId && !this.#skippedPeerIds.delete(id))) return undefined;
    for (; this.#nextPeerId < id; this.#nextPeerId += STREAM_ID_STEP)
      this.#skippedPeerIds.add(this.#nextPeerId);
    if (id === this.#nextPeerId) this.#nextPeerId += STREAM_ID_STEP;
    const stream = new QuicStream(id, this);
    this.#streams.set(id, stream);
    if (this.#unclaimed.size >= this.#init.limits.maxIncomingStreams) {
      // A peer gets here only by finishing streams that nobody has taken, faster than they are taken.
      stream.reset();
      return undefined;
    }
    this.#unclaimed.add(stream);
    this.#incoming.push(stream);
    return stream;
  }

  /** Read a given-up stream to its end, so that the native connection can let go of it. */
  #discard(id: number): void {
    try {
      while (this.native.streamRecv(id, this.scratch)?.[1] === false);
    } catch {
      // It ended by a reset, or there is nothing left of it.
    }
  }

  /** @returns the number of datagrams sent, at most `most`. */
  #send(most: number): number {
    const { socket } = this.#init.endpoint;
    for (let sent = 0; sent < most; sent++) {
      let written;
      try {
        written = this.native.send(socket.out);
      } catch (reason) {
        this.#init.logger.debug("Datagram not made", { remote: this.remoteAddress, reason: String(reason) });
        return sent;
      }
      if (written === null) return sent;
      const [length, { to }] = written;
      socket.send(length, to.port, to.host === this.#from.from.host ? this.#fromHost : to.host);
    }
    return most;
  }

  #sendClose(): void {
    const close = this.#pendingClose;
    if (close === undefined) return;
    this.#pendingClose = undefined;
    try {
      this.native.close(true, close.code, close.reason);
    } catch {
      return; // it is closed already
    }
    this.#sendUntilDraining();
  }

  #sendUntilDraining(): void {
    for (let i = 0; i < CLOSE_DATAGRAMS && !this.native.isDraining(); i++) if (this.#send(1) === 0) return;
  }

  #flushEnded(): void {
    const isLate = performance.now() >= this.#closingUntil;
    if (this.#pendingClose !== undefined) {
      if (this.#isConfirmed || isLate) this.#sendClose();
    } else if (this.native.isDraining()) {
      this.#send(1); // one answer to what came in: the close again (RFC 9000 §10.2.1)
    } else if (!isLate) {
      this.#sendUntilDraining();
    }
    if (this.native.isClosed() || (isLate && !this.native.isDraining())) this.#release();
    else this.#arm();
  }

  #noteNativeEnd(): void {
    const native = this.#nativeEnd();
    const end =
      native.peer === undefined && native.local === undefined
        ? lost(connectionLost(this.#silentEnd()))
        : connectionEnd(native);
    this.#finish(end);
    if (this.native.isClosed()) this.#release();
  }

  /** How a connection ended that neither side closed: nothing came any more, or a Stateless Reset (RFC 9000 §10.3). */
  #silentEnd(): string {
    return this.native.isTimedOut()
      ? `no sign of the peer for ${this.#init.limits.idleTimeoutMs / 1000} s`
      : "the peer does not know the connection any more; it was restarted";
  }

  #nativeEnd(): NativeEnd {
    return { local: this.native.localError() ?? undefined, peer: this.native.peerError() ?? undefined };
  }

  #finish(end: ConnectionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#state = "ended";
    this.#init.endpoint.retire();
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#blocked.clear();
    for (const stream of streams) {
      if (end.by === "local") stream.fail(end.error);
      else stream.lose(end.error);
    }
    for (const waiter of this.#credit.splice(0)) {
      waiter.detach();
      waiter.reject(end.error);
    }
    this.#incoming.end();
    this.#timer?.unref();
    this.#resolveEnded(end);
    this.#init.onEnded(this, end, this.#nativeEnd());
    this.#arm();
  }

  #release(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wakeAt = Infinity;
    this.#init.endpoint.detach(this);
  }

  /** Wake at the native connection's next timeout, the handshake's deadline or the next keep-alive. */
  #arm(): void {
    const native = this.native.timeout();
    const now = performance.now();
    // The native value is cut to whole milliseconds.
    let at = native === null ? Infinity : now + native + 1;
    if (this.#state === "handshaking") at = Math.min(at, this.#handshakeDeadline);
    else if (this.#state === "established") at = Math.min(at, this.#keepAliveAt());
    else if (!this.native.isDraining()) at = Math.min(at, this.#closingUntil);
    if (this.#isSilent(now)) at = Math.max(at, this.#init.endpoint.standstill.until);
    this.#wakeAt = at;
    if (at === Infinity || (this.#timer !== undefined && this.#timerAt <= at)) return;
    clearTimeout(this.#timer);
    this.#setTimer(at, now);
  }

  #setTimer(at: number, now: number): void {
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#wake(), Math.max(0, Math.ceil(at - now)));
    if (this.#state === "ended") this.#timer.unref();
  }

  #keepAliveAt(): number {
    const interval = this.#init.limits.keepAliveIntervalMs;
    return interval === 0 ? Infinity : this.#sentAt + interval;
  }

  #wake(): void {
    this.#timer = undefined;
    const now = performance.now();
    // The timer is left alone when the time moves out, which it does with every packet.
    if (this.#wakeAt > now) {
      if (this.#wakeAt !== Infinity) this.#setTimer(this.#wakeAt, now);
      return;
    }
    if (this.#state === "handshaking" && now >= this.#handshakeDeadline) {
      this.drop(new RksError("TIMED_OUT", "the handshake was not finished in time"));
      return;
    }
    if (this.#state === "established" && now >= this.#keepAliveAt()) this.#ping(now);
    const { standstill } = this.#init.endpoint;
    const isHeldUp = this.#isSilent(now) && standstill.isHeldUp(now, this.#wakeAt);
    if (!isHeldUp) this.native.onTimeout(); // looks for itself which of its timers are due
    this.flush();
  }

  #isSilent(now: number): boolean {
    return this.#state === "established" && now - this.#heardAt >= SILENCE_MS;
  }

  #ping(now: number): void {
    this.#sentAt = now;
    try {
      this.native.sendAckEliciting();
    } catch {
      // The connection is about to end, which `flush` finds out.
    }
  }
}

function cutReason(reason: string): string {
  let cut = reason;
  while (Buffer.byteLength(cut) > MAX_CLOSE_REASON_BYTES) cut = cut.slice(0, -1);
  return cut;
}
