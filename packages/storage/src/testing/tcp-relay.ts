import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP relay on loopback in front of a server, whose network does what the test says. */
export class TcpRelay implements AsyncDisposable {
  /** While true what the server sends does not arrive. */
  swallowsAnswers = false;
  /** How long what either side sends is on its way. Set it before connections are made. */
  delayMs = 0;
  /** What clients sent and is kept back, each piece as a call that sends it on; undefined: nothing is kept back. */
  #held: (() => void)[] | undefined;
  readonly #server: Server;
  #target: { readonly host: string; readonly port: number };
  readonly #sockets = new Set<Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor(server: Server, target: string) {
    this.#server = server;
    this.#target = hostAndPort(target);
    server.on("connection", (client) => this.#relay(client));
  }

  /** Relay to the host and port of a URL, from a free port of `host`. */
  static async open(target: string, host = "127.0.0.1"): Promise<TcpRelay> {
    const server = createServer({ allowHalfOpen: false });
    server.listen(0, host);
    await once(server, "listening");
    return new TcpRelay(server, target);
  }

  /** `host:port`. */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new TypeError("the relay is closed");
    return `${address.address}:${address.port}`;
  }

  /** Relay new connections to another server. */
  redirect(target: string): void {
    this.#target = hostAndPort(target);
  }

  /** Keep back what clients send. */
  hold(): void {
    this.#held ??= [];
  }

  /** How many pieces are kept back. */
  get held(): number {
    return this.#held?.length ?? 0;
  }

  /** Send the first pieces on, forget the others, and keep nothing back any more. */
  release(count: number): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const send of held.slice(0, count)) send();
  }

  /** End every connection, as a reset does. New ones may be made. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    const closed = once(this.#server, "close");
    this.#server.close();
    this.cut();
    await closed;
  }

  #relay(client: Socket): void {
    const server = connect(this.#target);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay();
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (bytes) => {
      const send = (): void => {
        if (!server.destroyed) server.write(bytes);
      };
      if (this.#held === undefined) this.#later(send);
      else this.#held.push(send);
    });
    server.on("data", (bytes) => {
      if (this.swallowsAnswers) return;
      this.#later(() => {
        if (!client.destroyed) client.write(bytes);
      });
    });
  }

  #later(action: () => void): void {
    if (this.delayMs === 0) {
      action();
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, this.delayMs);
    this.#timers.add(timer);
  }
}

function hostAndPort(url: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
