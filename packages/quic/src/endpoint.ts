import type { Logger, SocketAddress } from "@rk8s/protocol";
import type { RemoteInfo } from "node:dgram";
import { RksError } from "@rk8s/protocol";
import type { QuicConnection } from "./connection.js";
import type { Lobby, LobbyAccount, LobbyRank } from "./lobby.js";
import { CONNECTION_ID_BYTES } from "./packet-header.js";
import { Standstill } from "./standstill.js";
import { UdpSocket } from "./udp-socket.js";

export interface EndpointInit {
  readonly host: string;
  readonly port: number;
  readonly peer?: SocketAddress | undefined;
  /** A datagram that belongs to no connection. */
  readonly onUnknown?: ((datagram: Buffer, from: RemoteInfo) => void) | undefined;
  /** Where datagrams of connections without a certificate wait; without one they are served like all others. */
  readonly lobby?: Lobby | undefined;
  /** Close with the last connection, and do not keep the process alive for ended ones. */
  readonly closesWhenEmpty?: boolean;
  readonly logger: Logger;
}

const LONG_FORM = 0x80;
const MIN_SHORT_BYTES = 1 + CONNECTION_ID_BYTES;
const LONG_DCID_LENGTH_OFFSET = 5;
const LONG_DCID_OFFSET = 6;

/**
 * One UDP socket and the connections on it. It hands each datagram to the connection whose id it carries and
 * lets connections work in turns: everything that arrived together is taken in first, then each connection reads
 * once, the application reacts, then each connection sends once. What is in the lobby comes last.
 */
export class Endpoint {
  /** Whether the timers of its connections were held up. */
  readonly standstill = new Standstill();
  readonly #init: EndpointInit;
  readonly #connections = new Map<string, QuicConnection>();
  #socket: UdpSocket | undefined;
  #inbox: QuicConnection[] = [];
  #outbox: QuicConnection[] = [];
  #turnIsDue = false;
  #lobbyTimer: NodeJS.Timeout | undefined;
  #flushIsDue = false;
  /** Connections that have not ended. */
  #live = 0;

  /** @throws Error of the system when the socket cannot be had. */
  static async open(init: EndpointInit): Promise<Endpoint> {
    const endpoint = new Endpoint(init);
    endpoint.#socket = await UdpSocket.open({
      host: init.host,
      port: init.port,
      peer: init.peer,
      onDatagram: (datagram, from) => endpoint.#route(datagram, from),
      onRefused: (reason) => endpoint.#refuse(reason),
    });
    return endpoint;
  }

  private constructor(init: EndpointInit) {
    this.#init = init;
  }

  get socket(): UdpSocket {
    if (this.#socket === undefined) throw new TypeError("the endpoint is not open");
    return this.#socket;
  }

  get local(): SocketAddress {
    return this.socket.local;
  }

  /** All connections, those included that have ended and only answer late datagrams. */
  connections(): QuicConnection[] {
    return [...this.#connections.values()];
  }

  /** The connection of this id. */
  find(id: string): QuicConnection | undefined {
    return this.#connections.get(id);
  }

  attach(connection: QuicConnection): void {
    this.#connections.set(connection.id, connection);
    if (this.#live++ === 0 && this.#init.closesWhenEmpty === true) this.socket.keepAlive(true);
  }

  /** A connection has ended: a socket that only has such ones does not keep the process alive. */
  retire(): void {
    if (--this.#live === 0 && this.#init.closesWhenEmpty === true) this.socket.keepAlive(false);
  }

  detach(connection: QuicConnection): void {
    this.#connections.delete(connection.id);
    this.closeIfEmpty();
  }

  /** Close when there is no connection and the endpoint is of the kind that closes then. */
  closeIfEmpty(): void {
    if (this.#init.closesWhenEmpty !== true || this.#connections.size > 0) return;
    this.close().catch(() => undefined);
  }

  /** Let `connection` send once the code that runs now and all it wakes have had their say. */
  flushSoon(connection: QuicConnection): void {
    if (connection.hasOutput) return;
    connection.hasOutput = true;
    this.#outbox.push(connection);
    this.#scheduleFlush();
  }

  /** Let `connection` go on sending after the event loop has had its turn. */
  flushNextTurn(connection: QuicConnection): void {
    setImmediate(() => this.flushSoon(connection));
  }

  /** Let go of all connections and release the address. Idempotent. */
  close(): Promise<void> {
    clearTimeout(this.#lobbyTimer);
    for (const connection of this.connections()) connection.abandon();
    return this.socket.close();
  }

  #route(datagram: Buffer, from: RemoteInfo): void {
    if (from.port === 0) return; // forged: nothing can be sent there
    const connection = this.#connections.get(destinationOf(datagram)) ?? this.#resetTarget(datagram);
    if (connection === undefined) this.#guard(undefined, () => this.#init.onUnknown?.(datagram, from));
    else if (this.#init.lobby === undefined || connection.isKnown) this.#deliver(connection, datagram, from);
    else this.wait("handshake", () => this.receive(connection, datagram, from), connection);
  }

  /** A Stateless Reset names no connection (RFC 9000 §10.3); on a socket with one peer it can mean only one. */
  #resetTarget(datagram: Buffer): QuicConnection | undefined {
    if (this.#init.peer === undefined || ((datagram[0] ?? LONG_FORM) & LONG_FORM) !== 0) return undefined;
    const [only] = this.#connections.values();
    return only;
  }

  /** Let work for a stranger wait in the lobby. @returns false when there is no place; it is not done then. */
  wait(rank: LobbyRank, work: () => void, account?: LobbyAccount): boolean {
    const { lobby } = this.#init;
    const isIn = lobby?.enter(rank, () => this.#guard(undefined, work), account) === true;
    if (isIn && this.#lobbyTimer === undefined) this.#scheduleTurn();
    return isIn;
  }

  /** Take in a datagram for `connection`, which reacts at once. */
  receive(connection: QuicConnection, datagram: Buffer, from: RemoteInfo): void {
    this.#guard(connection, () => {
      connection.receive(datagram, from.address, from.port);
      connection.dispatch();
    });
    this.flushSoon(connection);
  }

  /** Take in a datagram for `connection`; it reacts when all that arrived with it is taken in. */
  #deliver(connection: QuicConnection, datagram: Buffer, from: RemoteInfo): void {
    connection.receive(datagram, from.address, from.port);
    if (connection.hasInput) return;
    connection.hasInput = true;
    this.#inbox.push(connection);
    this.#scheduleTurn();
  }

  #scheduleTurn(): void {
    if (this.#turnIsDue) return;
    this.#turnIsDue = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#turnIsDue = false;
    this.#serveInbox();
    const waitMs = this.#lobbyTimer === undefined ? this.#init.lobby?.serve() : undefined;
    if (waitMs === 0) this.#scheduleTurn();
    else if (waitMs !== undefined) {
      this.#lobbyTimer = setTimeout(() => {
        this.#lobbyTimer = undefined;
        this.#scheduleTurn();
      }, waitMs);
    }
  }

  #serveInbox(): void {
    const inbox = this.#inbox;
    this.#inbox = [];
    for (const connection of inbox) {
      connection.hasInput = false;
      this.#guard(connection, () => connection.dispatch());
      this.flushSoon(connection);
    }
  }

  /** A tick asked for in a microtask runs after all microtasks, so all answers that are ready go out together. */
  #scheduleFlush(): void {
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    queueMicrotask(() => process.nextTick(() => this.#flush()));
  }

  #flush(): void {
    this.#flushIsDue = false;
    const outbox = this.#outbox;
    this.#outbox = [];
    for (const connection of outbox) {
      this.#guard(connection, () => connection.flush());
      connection.hasOutput = false;
    }
  }

  /** Whatever a datagram makes go wrong, in our code too, costs one connection and not the process. */
  #guard(connection: QuicConnection | undefined, work: () => void): void {
    try {
      work();
    } catch (reason) {
      this.#init.logger.error("Connection dropped after an internal error", { reason: String(reason) });
      connection?.drop(RksError.from(reason));
    }
  }

  #refuse(reason: Error): void {
    for (const connection of this.connections()) connection.refuse(reason);
  }
}

/** The key of the connection that a datagram names, or "" when it names none (RFC 8999 §5). */
function destinationOf(datagram: Buffer): string {
  const first = datagram[0];
  if (first === undefined) return "";
  if ((first & LONG_FORM) === 0) {
    return datagram.length < MIN_SHORT_BYTES ? "" : datagram.toString("latin1", 1, MIN_SHORT_BYTES);
  }
  if (datagram[LONG_DCID_LENGTH_OFFSET] !== CONNECTION_ID_BYTES) return "";
  return datagram.toString("latin1", LONG_DCID_OFFSET, LONG_DCID_OFFSET + CONNECTION_ID_BYTES);
}
