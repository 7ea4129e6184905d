import { createSocket } from "node:dgram";
import type { RemoteInfo, Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { SocketAddress } from "@rk8s/protocol";
import type { NativeAddress } from "./native-binding.js";
import { MAX_UDP_PAYLOAD_BYTES, SOCKET_BUFFER_BYTES } from "./limits.js";

/** Turns of the event loop that a full send queue gets to empty itself before it is given up. */
const CLOSE_TURNS = 1000;

export interface UdpSocketInit {
  /** Local IP address to bind. */
  readonly host: string;
  readonly port: number;
  /** Only exchange datagrams with this address; the kernel drops all others and reports refusals. */
  readonly peer?: SocketAddress | undefined;
  readonly onDatagram: (datagram: Buffer, from: RemoteInfo) => void;
  /** A connected peer's host says that nobody listens there, or it cannot be reached. Said once per event. */
  readonly onRefused?: ((reason: Error) => void) | undefined;
}

/** The address as the native binding takes it: without the zone of a link-local one (`fe80::1%eth0`). */
export function nativeAddress(address: SocketAddress): NativeAddress {
  const zone = address.host.indexOf("%");
  return { host: zone === -1 ? address.host : address.host.slice(0, zone), port: address.port };
}

/** A UDP socket that sends from one reused buffer for as long as the kernel takes each datagram at once. */
export class UdpSocket {
  readonly local: SocketAddress;
  readonly #socket: Socket;
  readonly #isConnected: boolean;
  #out: Uint8Array = new Uint8Array(MAX_UDP_PAYLOAD_BYTES);
  #closed: Promise<void> | undefined;

  /** Bind, and connect when there is a `peer`. @throws Error of the system when the address cannot be had. */
  static async open(init: UdpSocketInit): Promise<UdpSocket> {
    const socket = createSocket({
      type: isIPv6(init.host) ? "udp6" : "udp4",
      // Only IP addresses get here; without this Node asks its resolver for every datagram.
      lookup: (address, _options, done) => done(null, address, isIPv6(address) ? 6 : 4),
    });
    try {
      const listening = once(socket, "listening");
      socket.bind(init.port, init.host);
      await listening;
      if (init.peer !== undefined) {
        const connected = once(socket, "connect");
        socket.connect(init.peer.port, init.peer.host);
        await connected;
      }
    } catch (cause) {
      socket.close();
      throw cause;
    }
    return new UdpSocket(socket, init);
  }

  private constructor(socket: Socket, init: UdpSocketInit) {
    this.#socket = socket;
    this.#isConnected = init.peer !== undefined;
    growBuffers(socket);
    const { address, port } = socket.address();
    this.local = { host: address, port };
    socket.on("message", init.onDatagram);
    // Errors of single datagrams (no route, too big, refused) are loss to QUIC; a handshake wants to know.
    socket.on("error", (reason) => init.onRefused?.(reason));
  }

  /** Where to write the next datagram; valid until `send`. */
  get out(): Uint8Array {
    return this.#out;
  }

  /** Send the first `length` bytes of `out`. Failures are loss. */
  send(length: number, port: number, host: string): void {
    if (this.#closed !== undefined) return;
    if (this.#isConnected) this.#socket.send(this.#out, 0, length);
    else this.#socket.send(this.#out, 0, length, port, host);
    if (this.#socket.getSendQueueCount() > 0) this.#out = new Uint8Array(MAX_UDP_PAYLOAD_BYTES);
  }

  /** Whether the socket keeps the process alive. */
  keepAlive(keep: boolean): void {
    if (keep) this.#socket.ref();
    else this.#socket.unref();
  }

  /** Release the address once the kernel has what was sent. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (let turn = 0; turn < CLOSE_TURNS && this.#socket.getSendQueueCount() > 0; turn++) await nextTurn();
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

function growBuffers(socket: Socket): void {
  try {
    socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
    socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
  } catch {
    // A system that refuses leaves its default, which works with more loss.
  }
}
