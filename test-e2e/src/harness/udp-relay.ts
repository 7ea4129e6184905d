import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

/** Enough for two handshakes and what follows. */
const MAX_RECORDED = 200;

/** A UDP relay on loopback in front of an rks, whose network does what the test says. */
export class UdpRelay implements AsyncDisposable {
  /** How long a datagram is on its way, in each direction; milliseconds. */
  delayMs = 0;
  /** Share of the datagrams that vanish, in each direction; 1 is a partition. */
  loss = 0;
  /** While true what rks sends does not arrive. */
  swallowsAnswers = false;
  /** How many datagrams of each client arrive; the others do not. */
  maxFromClient = Infinity;
  /** What clients have sent since `record`, up to a bound. */
  readonly recorded: Buffer[] = [];
  #maxRecorded = 0;
  readonly #front: Socket;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #backs = new Map<number, Socket>();
  readonly #forgotten: Socket[] = [];
  readonly #underWay = new Set<NodeJS.Timeout>();
  readonly #fromClient = new Map<number, number>();
  readonly #arrivals = new Set<() => void>();
  #held: (() => void)[] | undefined;

  private constructor(front: Socket, target: string) {
    const [host, port] = target.split(":");
    this.#front = front;
    this.#target = { host: host!, port: Number(port) };
    front.on("message", (datagram, from) => this.#toServer(datagram, from.port));
  }

  /** Relay to `host:port`. */
  static async open(target: string): Promise<UdpRelay> {
    const front = createSocket("udp4");
    front.bind(0, "127.0.0.1");
    await once(front, "listening");
    return new UdpRelay(front, target);
  }

  get address(): string {
    return `127.0.0.1:${this.#front.address().port}`;
  }

  /** Keep what clients send until `release`. */
  hold(): void {
    this.#held ??= [];
  }

  /** Keep a copy of what clients send from now on. */
  record(): void {
    this.#maxRecorded = MAX_RECORDED;
  }

  /** Send this to rks as if the client that came last had sent it. */
  inject(datagram: Uint8Array): void {
    const { host, port } = this.#target;
    [...this.#backs.values()].at(-1)?.send(datagram, port, host);
  }

  /** Resolves when so many clients have sent something. */
  async clients(count: number): Promise<void> {
    while (this.#backs.size < count) await new Promise<void>((resolve) => this.#arrivals.add(resolve));
  }

  /** Forget which client has which port, as a NAT does: rks sees other ones from now on, and nothing comes to the old. */
  rebind(): void {
    this.#forgotten.push(...this.#backs.values());
    this.#backs.clear();
  }

  /** Let through what was held, in the order in which it came. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const send of held) send();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#underWay) clearTimeout(timer);
    const sockets = [this.#front, ...this.#backs.values(), ...this.#forgotten];
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))));
  }

  #toServer(datagram: Buffer, clientPort: number): void {
    if (this.recorded.length < this.#maxRecorded) this.recorded.push(datagram);
    const back = this.#backFor(clientPort);
    const count = (this.#fromClient.get(clientPort) ?? 0) + 1;
    this.#fromClient.set(clientPort, count);
    if (count > this.maxFromClient) return;
    const { host, port } = this.#target;
    const send = (): void => back.send(datagram, port, host);
    if (this.#held === undefined) this.#travel(send);
    else this.#held.push(send);
  }

  #travel(arrive: () => void): void {
    if (Math.random() < this.loss) return;
    if (this.delayMs === 0) return arrive();
    const timer = setTimeout(() => {
      this.#underWay.delete(timer);
      arrive();
    }, this.delayMs);
    this.#underWay.add(timer);
  }

  /** One socket a client, so that rks sees as many peers as there are. */
  #backFor(clientPort: number): Socket {
    const known = this.#backs.get(clientPort);
    if (known !== undefined) return known;
    const back = createSocket("udp4");
    // Nothing listens there while rks is being restarted.
    back.on("error", () => undefined);
    back.on("message", (datagram) => {
      if (this.swallowsAnswers || this.#backs.get(clientPort) !== back) return;
      this.#travel(() => this.#front.send(datagram, clientPort, "127.0.0.1"));
    });
    this.#backs.set(clientPort, back);
    for (const wake of this.#arrivals) wake();
    this.#arrivals.clear();
    return back;
  }
}
