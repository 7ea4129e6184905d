import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import type { Socket } from "node:dgram";
import { once } from "node:events";
import type { SocketAddress } from "@rk8s/protocol";
import { loadNative } from "../native-binding.js";
import type { NativeConfig, NativeConnection } from "../native-binding.js";
import { ALPN, SERVER_NAME } from "./link.js";

/** A UDP socket on loopback that keeps what it receives. */
export class RawSocket implements AsyncDisposable {
  readonly socket: Socket;
  readonly address: SocketAddress;
  readonly #received: Buffer[] = [];
  #wake: (() => void) | undefined;

  static async open(): Promise<RawSocket> {
    const socket = createSocket("udp4");
    const listening = once(socket, "listening");
    socket.bind(0, "127.0.0.1");
    await listening;
    return new RawSocket(socket);
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    this.address = { host: "127.0.0.1", port: socket.address().port };
    socket.on("message", (datagram) => {
      this.#received.push(datagram);
      this.#wake?.();
    });
  }

  async send(datagram: Uint8Array, port: number): Promise<void> {
    await new Promise<void>((resolve) => this.socket.send(datagram, port, "127.0.0.1", () => resolve()));
  }

  /** The next datagram, in order of arrival. */
  async receive(): Promise<Buffer> {
    for (;;) {
      const datagram = this.#received.shift();
      if (datagram !== undefined) return datagram;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** What has arrived and was not taken. */
  get pending(): number {
    return this.#received.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.socket.close(() => resolve()));
  }
}

/** A client that does, packet by packet, what a test says, over the native connection itself. */
export class RawClient implements AsyncDisposable {
  readonly raw: RawSocket;
  readonly native: NativeConnection;
  readonly #port: number;

  static async open(port: number, config?: NativeConfig): Promise<RawClient> {
    const raw = await RawSocket.open();
    const quiche = await loadNative();
    const used = config ?? (await anonymousConfig());
    const remote = { host: "127.0.0.1", port };
    const native = quiche.Connection.connect(SERVER_NAME, randomBytes(20), { ...raw.address }, remote, used);
    return new RawClient(raw, native, port);
  }

  private constructor(raw: RawSocket, native: NativeConnection, port: number) {
    this.raw = raw;
    this.native = native;
    this.#port = port;
  }

  /** The datagrams that the native connection wants to send now. */
  outgoing(): Uint8Array[] {
    const datagrams: Uint8Array[] = [];
    for (;;) {
      const out = new Uint8Array(1350);
      const written = this.native.send(out);
      if (written === null) return datagrams;
      datagrams.push(out.subarray(0, written[0]));
    }
  }

  async flush(): Promise<void> {
    for (const datagram of this.outgoing()) await this.raw.send(datagram, this.#port);
  }

  /** Wait for one datagram and take it in. */
  async receive(): Promise<void> {
    const datagram = await this.raw.receive();
    this.native.recv(datagram, {
      from: { host: "127.0.0.1", port: this.#port },
      to: { ...this.raw.address },
    });
  }

  /** Send the first packet and take in the Retry that answers it. */
  async untilRetry(): Promise<void> {
    await this.flush();
    await this.receive();
  }

  async untilEstablished(): Promise<void> {
    await this.untilRetry();
    while (!this.native.isEstablished()) {
      await this.flush();
      await this.receive();
    }
    await this.flush();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.raw[Symbol.asyncDispose]();
  }
}

/** A client's configuration that trusts anybody and has no certificate. */
export async function anonymousConfig(): Promise<NativeConfig> {
  const quiche = await loadNative();
  const config = quiche.Config.withBoringSslCtx(false, false, undefined, undefined, undefined, undefined);
  return prepare(config);
}

/** Set what every client's configuration needs. */
export function prepare(config: NativeConfig): NativeConfig {
  config.setApplicationProtos([ALPN]);
  config.setMaxIdleTimeout(10_000);
  config.setMaxSendUdpPayloadSize(1350);
  config.setInitialMaxData(1_000_000);
  config.setInitialMaxStreamDataBidiLocal(100_000);
  config.setInitialMaxStreamDataBidiRemote(100_000);
  config.setInitialMaxStreamsBidi(10);
  return config;
}
