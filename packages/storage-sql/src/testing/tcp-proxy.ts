import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";

/** What becomes of bytes on their way to the server. */
export type Fate =
  /** They arrive. */
  | "pass"
  /** They do not, and the connection ends. */
  | "cut before"
  /** They do; the connection ends when the server answers, and the answer is lost. */
  | "cut after"
  /** They do, and nothing ever comes back. */
  | "silence after";

/** Stands before a server and loses what a test wants to be lost. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #to: number;
  /** Asked for each piece of a request. */
  judge: (request: Buffer) => Fate = () => "pass";

  private constructor(server: Server, to: number) {
    this.#server = server;
    this.#to = to;
    server.on("connection", (client) => this.#connect(client));
  }

  static async start(to: number, host = "127.0.0.1"): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server, to);
    server.listen(0, host);
    await once(server, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, "close");
  }

  #connect(client: Socket): void {
    const upstream = connect(this.#to, "127.0.0.1");
    let fate: Fate = "pass";
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", end).on("close", end);
      socket.on("close", () => this.#sockets.delete(socket));
    }
    client.on("data", (request) => {
      if (fate === "pass") fate = this.judge(request);
      if (fate === "cut before") end();
      else upstream.write(request);
    });
    upstream.on("data", (answer) => {
      if (fate === "pass") client.write(answer);
      else if (fate === "cut after") end();
    });
  }
}
