import { createSocket } from "node:dgram";
import type { Socket } from "node:dgram";
import { once } from "node:events";

export interface LossyRelayOptions {
  /** Share of datagrams that vanish, 0 to 1. */
  readonly loss: number;
  /** Share of datagrams that others overtake. */
  readonly reordering: number;
  /** 0 to 1; seeded, so that a test always sees the same network. */
  readonly random: () => number;
}

const DELAY_MS = 8;

/** A UDP relay in front of a server on loopback that loses and reorders datagrams in both directions. */
export class LossyRelay implements AsyncDisposable {
  readonly port: number;
  readonly #front: Socket;
  readonly #options: LossyRelayOptions;
  #serverPort: number;
  readonly #backs = new Map<number, Socket>();
  readonly #forgotten: Socket[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  dropped = 0;

  static async open(serverPort: number, options: LossyRelayOptions): Promise<LossyRelay> {
    const front = createSocket("udp4");
    const listening = once(front, "listening");
    front.bind(0, "127.0.0.1");
    await listening;
    return new LossyRelay(front, serverPort, options);
  }

  private constructor(front: Socket, serverPort: number, options: LossyRelayOptions) {
    this.port = front.address().port;
    this.#front = front;
    this.#serverPort = serverPort;
    this.#options = options;
    front.on("message", (datagram, from) => {
      const back = this.#backFor(from.port);
      this.#pass(() => back.send(datagram, this.#serverPort, "127.0.0.1"));
    });
  }

  /** Put another server in the place of the one before, which hears no more of its clients. */
  redirect(serverPort: number): void {
    this.#serverPort = serverPort;
  }

  /** Forget which client has which port, as a NAT does: from now on the server sees other ones. */
  rebind(): void {
    this.#forgotten.push(...this.#backs.values());
    this.#backs.clear();
  }

  #backFor(clientPort: number): Socket {
    const known = this.#backs.get(clientPort);
    if (known !== undefined) return known;
    const back = createSocket("udp4");
    back.on("message", (datagram, from) => {
      if (from.port !== this.#serverPort || this.#backs.get(clientPort) !== back) return;
      this.#pass(() => this.#front.send(datagram, clientPort, "127.0.0.1"));
    });
    this.#backs.set(clientPort, back);
    return back;
  }

  #pass(send: () => void): void {
    const { loss, reordering, random } = this.#options;
    if (random() < loss) {
      this.dropped++;
    } else if (random() < reordering) {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        send();
      }, DELAY_MS);
      this.#timers.add(timer);
    } else {
      send();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    const sockets = [this.#front, ...this.#backs.values(), ...this.#forgotten];
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))));
  }
}
