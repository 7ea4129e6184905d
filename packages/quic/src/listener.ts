import type { RemoteInfo } from "node:dgram";
import { CLOSE_CODES, RksError } from "@rk8s/protocol";
import type {
  CloseOptions,
  Connection,
  ConnectionLimits,
  Listener,
  ServerConfig,
  SocketAddress,
} from "@rk8s/protocol";
import type { AddressTokens } from "./address-token.js";
import { QuicConnection } from "./connection.js";
import { Endpoint } from "./endpoint.js";
import { addressText, unbindable } from "./error.js";
import { bindPatiently, type PatientBindPorts } from "./patient-bind.js";
import { type HandshakePlace, HandshakePlaces } from "./handshake-places.js";
import { Lobby } from "./lobby.js";
import { buildEndpointConfig } from "./native-config.js";
import type { EndpointConfig } from "./native-config.js";
import type { NativeQuiche } from "./native-binding.js";
import { CONNECTION_ID_BYTES, MIN_INITIAL_DATAGRAM_BYTES, parsePacketHeader } from "./packet-header.js";
import type { LongHeader } from "./packet-header.js";
import { nativeResetToken, StatelessResets } from "./stateless-reset.js";
import { HandoverQueue } from "./queue.js";
import { nativeAddress } from "./udp-socket.js";

export interface ListenerInit {
  /** An IP address. */
  readonly host: string;
  readonly port: number;
  readonly alpn: readonly string[];
  readonly config: ServerConfig;
  readonly limits: Required<ConnectionLimits>;
  readonly maxHandshakes: number;
  readonly maxConnections: number;
  /** See `ListenOptions.resetKey`. */
  readonly resetKey: Uint8Array;
}

export interface ListenerPorts extends PatientBindPorts {
  readonly quiche: NativeQuiche;
  readonly tokens: AddressTokens;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly monotonicMs: () => number;
  readonly scratch: Uint8Array;
}

/** RFC 9000 §7.2: a client's first destination connection id has at least 8 bytes. */
const MIN_FIRST_DCID_BYTES = 8;

/**
 * Accept QUIC connections on one UDP port. Nothing is kept for a client before it has shown, by a Retry token, that
 * it receives what is sent to its address; nothing is said to datagrams that fit no rule.
 */
export class QuicListener implements Listener {
  readonly #init: ListenerInit;
  readonly #ports: ListenerPorts;
  readonly #accepted = new HandoverQueue<QuicConnection>();
  #config: EndpointConfig;
  #endpoint: Endpoint | undefined;
  readonly #handshakes: HandshakePlaces;
  readonly #resets: StatelessResets;
  #established = 0;
  #closed: Promise<void> | undefined;

  /** @throws {RksError} CONFIG_INVALID for the credentials or roots, UNREACHABLE when the address cannot be had in 3 s. */
  static async open(init: ListenerInit, ports: ListenerPorts): Promise<QuicListener> {
    const listener = new QuicListener(init, ports);
    const target = addressText(init.host, init.port);
    const bind = (): Promise<Endpoint> =>
      Endpoint.open({
        host: init.host,
        port: init.port,
        logger: ports.logger,
        onUnknown: (datagram, from) => listener.#receive(datagram, from),
        lobby: new Lobby(ports),
      });
    try {
      listener.#endpoint = await bindPatiently(bind, target, ports);
    } catch (cause) {
      throw unbindable(target, cause);
    }
    return listener;
  }

  private constructor(init: ListenerInit, ports: ListenerPorts) {
    this.#init = init;
    this.#ports = ports;
    this.#handshakes = new HandshakePlaces({
      most: init.maxHandshakes,
      monotonicMs: ports.monotonicMs,
      onTurn: (begin) => this.#open.wait("beginning", begin),
    });
    this.#resets = new StatelessResets(init.resetKey, ports);
    this.#config = this.#build(init.config);
  }

  get address(): SocketAddress {
    return this.#open.local;
  }

  connections(): AsyncIterable<Connection> {
    return this.#accepted.values();
  }

  updateConfig(config: ServerConfig): void {
    this.#config = this.#build(config);
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closed ??= this.#close(options);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #open(): Endpoint {
    if (this.#endpoint === undefined) throw new TypeError("the listener is not open");
    return this.#endpoint;
  }

  async #close(options: CloseOptions): Promise<void> {
    this.#accepted.end();
    for (const connection of this.#open.connections()) connection.closeNow(options);
    await this.#open.close();
  }

  #build(config: ServerConfig): EndpointConfig {
    return buildEndpointConfig(this.#ports.quiche, {
      verify: "ask",
      roots: config.clientRoots,
      credentials: config.credentials,
      alpn: this.#init.alpn,
      limits: this.#init.limits,
    });
  }

  /**
   * A datagram of no known connection: it means something when it is a client's first, or of a connection that this
   * process has forgotten or another had before it. Both wait in the lobby.
   */
  #receive(datagram: Buffer, from: RemoteInfo): void {
    if (this.#closed !== undefined) return;
    const header = parsePacketHeader(datagram);
    if (header?.form === "short") {
      this.#open.wait("stranger", () => this.#reset(header.dcid, datagram.length, from));
    }
    if (header?.form !== "long" || datagram.length < MIN_INITIAL_DATAGRAM_BYTES) return;
    const { type, token } = header;
    if (type === "unknown-version") this.#open.wait("stranger", () => this.#negotiateVersion(header, from));
    else if (type !== "initial" || token === undefined) return;
    else if (token.length === 0) this.#open.wait("stranger", () => this.#retry(header, from));
    else this.#open.wait("beginning", () => this.#accept(header, token, datagram, from));
  }

  /** RFC 9000 §6.1. */
  #negotiateVersion(header: LongHeader, from: RemoteInfo): void {
    if (header.dcid.length > CONNECTION_ID_BYTES || header.scid.length > CONNECTION_ID_BYTES) return;
    this.#reply(from, (out) => this.#ports.quiche.negotiateVersion(header.scid, header.dcid, out));
  }

  /** RFC 9000 §8.1.2. */
  #retry(header: LongHeader, from: RemoteInfo): void {
    if (header.dcid.length < MIN_FIRST_DCID_BYTES) return;
    const scid = this.#ports.randomBytes(CONNECTION_ID_BYTES);
    const token = this.#ports.tokens.issue({ host: from.address, port: from.port }, scid, header.dcid);
    const { quiche } = this.#ports;
    this.#reply(from, (out) => quiche.retry(header.scid, header.dcid, scid, token, header.version, out));
  }

  /** RFC 9000 §10.3. */
  #reset(connectionId: Uint8Array, receivedBytes: number, from: RemoteInfo): void {
    this.#reply(from, (out) => this.#resets.write(connectionId, receivedBytes, out));
  }

  #reply(to: RemoteInfo, write: (out: Uint8Array) => number): void {
    const { socket } = this.#open;
    let length;
    try {
      length = write(socket.out);
    } catch (reason) {
      this.#ports.logger.debug("Reply not made", { reason: String(reason) });
      return;
    }
    if (length > 0) socket.send(length, to.port, to.address);
  }

  #accept(header: LongHeader, token: Uint8Array, datagram: Buffer, from: RemoteInfo): void {
    if (header.dcid.length !== CONNECTION_ID_BYTES) return;
    const id = Buffer.from(header.dcid).toString("latin1");
    // A long first message comes in several datagrams, which wait here before there is a connection.
    const begun = this.#open.find(id);
    if (begun !== undefined) {
      this.#open.receive(begun, datagram, from);
      return;
    }
    const remote = { host: from.address, port: from.port };
    const originalDcid = this.#ports.tokens.check(remote, header.dcid, token);
    if (originalDcid === undefined) return;
    this.#handshakes.enter(id, remote.host, (place) => {
      const connection = this.#create(header.dcid, originalDcid, remote, place);
      if (connection === undefined) this.#handshakes.leave(place);
      else this.#open.receive(connection, datagram, from);
    });
  }

  #create(
    dcid: Uint8Array,
    originalDcid: Uint8Array,
    remote: SocketAddress,
    place: HandshakePlace,
  ): QuicConnection | undefined {
    const { quiche, logger, scratch } = this.#ports;
    const endpoint = this.#open;
    const config = this.#config;
    let native;
    try {
      // The configuration is shared; what it is set to is copied by `accept`.
      config.native.setStatelessResetToken(nativeResetToken(this.#resets.tokenOf(dcid)));
      native = quiche.Connection.accept(
        dcid,
        originalDcid,
        nativeAddress(endpoint.local),
        nativeAddress(remote),
        config.native,
      );
    } catch (reason) {
      logger.debug("Handshake not begun", { remote, reason: String(reason) });
      return undefined;
    }
    let isEstablished = false;
    const created = new QuicConnection({
      native,
      endpoint,
      id: Buffer.from(dcid).toString("latin1"),
      role: "server",
      remote,
      serverName: undefined,
      localCertificates: config.localCertificates,
      limits: this.#init.limits,
      scratch,
      logger,
      onEstablished: (connection) => {
        isEstablished = true;
        if (connection.isKnown) this.#handshakes.know(remote.host);
        this.#handshakes.leave(place);
        this.#established++;
        this.#admit(connection);
      },
      onEnded: (_connection, end) => {
        if (isEstablished) this.#established--;
        else {
          this.#handshakes.leave(place);
          logger.debug("Handshake failed", { remote, reason: end.reason });
        }
      },
    });
    place.giveUp = () => created.drop(new RksError("BUSY", "a slow handshake made room for others"));
    return created;
  }

  #admit(connection: QuicConnection): void {
    // A resumed session skips the certificate: its holder needs no key, and the certificate may have expired.
    if (connection.native.isResumed()) {
      connection.closeNow({
        code: CLOSE_CODES.CLIENT_CERTIFICATE_REFUSED,
        reason: "resumed sessions are not accepted",
      });
    } else if (this.#established > this.#init.maxConnections) {
      connection.closeNow({ code: CLOSE_CODES.BUSY, reason: "too many connections" });
    } else {
      this.#accepted.push(connection);
    }
  }
}
