import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";

/** An answer as it came over the wire. */
export interface RawReply {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RawTarget {
  readonly port: number;
  /** TLS with these options; nothing: plain. */
  readonly tls?: ConnectionOptions;
}

/** A connection on which a test writes bytes as it likes and reads answers one by one. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    const end = (): void => {
      this.#ended = true;
      this.#wake();
    };
    socket.on("error", end).on("close", end);
    socket.on("data", (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
  }

  static async open({ port, tls }: RawTarget): Promise<RawClient> {
    const socket =
      tls === undefined
        ? connectTcp({ host: "127.0.0.1", port, noDelay: true })
        : connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ...tls });
    await new Promise<void>((resolve, reject) => {
      socket.once(tls === undefined ? "connect" : "secureConnect", resolve).once("error", reject);
    });
    return new RawClient(socket);
  }

  /** Write, and wait until it has left this process. */
  send(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.socket.write(bytes, () => resolve());
    });
  }

  /** The next answer; undefined when the connection ended before it was whole. `hasBody`: not after HEAD. */
  async reply(hasBody = true): Promise<RawReply | undefined> {
    for (;;) {
      const reply = this.#take(hasBody);
      if (reply !== undefined) return reply;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Wait for the end of the connection. */
  async ended(): Promise<void> {
    while (!this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #take(hasBody: boolean): RawReply | undefined {
    const end = this.#received.indexOf("\r\n\r\n");
    if (end === -1) return undefined;
    const [first = "", ...lines] = this.#received.toString("latin1", 0, end).split("\r\n");
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(":")).toLowerCase(),
        line.slice(line.indexOf(":") + 1).trim(),
      ]),
    );
    const length = hasBody ? Number(headers["content-length"] ?? 0) : 0;
    const start = end + 4;
    if (this.#received.length < start + length) return undefined;
    const body = this.#received.toString("utf8", start, start + length);
    this.#received = this.#received.subarray(start + length);
    return { status: Number(first.split(" ")[1]), headers, body };
  }
}

/** One request in its own connection. */
export async function rawRequest(
  target: RawTarget,
  request: {
    readonly method?: string;
    readonly path: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string | Uint8Array;
  },
): Promise<RawReply> {
  const { method = "GET", path, headers = {}, body } = request;
  using client = await RawClient.open(target);
  const lines = Object.entries({ host: "x", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = body === undefined ? "" : `content-length: ${Buffer.byteLength(body)}\r\n`;
  await client.send(`${method} ${path} HTTP/1.1\r\n${lines.join("")}${length}\r\n`);
  if (body !== undefined) await client.send(body);
  const reply = await client.reply(method !== "HEAD");
  if (reply === undefined) throw new Error("the connection ended without an answer");
  return reply;
}
