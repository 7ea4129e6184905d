import type { Server } from "node:http";
import type { Socket } from "node:net";

export interface RoomInit {
  readonly maxConnections: number;
  /** Of one remote address; connections without one (unix sockets) only count towards all. */
  readonly maxPerAddress: number;
}

/** The TCP connections of a server, those still in their TLS handshake included. */
export class ConnectionRoom {
  readonly #sockets = new Set<Socket>();
  readonly #perAddress = new Map<string, number>();
  readonly #maxPerAddress: number;

  /** Take in the connections of a server that does not listen yet; whatever is too much is closed at once. */
  constructor(server: Server, init: RoomInit) {
    this.#maxPerAddress = init.maxPerAddress;
    server.maxConnections = init.maxConnections;
    server.prependListener("connection", (socket: Socket) => this.#enter(socket));
  }

  get size(): number {
    return this.#sockets.size;
  }

  /** Cut every connection. */
  clear(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #enter(socket: Socket): void {
    const address = socket.remoteAddress;
    const others = address === undefined ? 0 : (this.#perAddress.get(address) ?? 0);
    if (others >= this.#maxPerAddress) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    if (address !== undefined) this.#perAddress.set(address, others + 1);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (address === undefined) return;
      const left = (this.#perAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#perAddress.delete(address);
      else this.#perAddress.set(address, left);
    });
  }
}
