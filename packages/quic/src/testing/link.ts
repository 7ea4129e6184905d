import type {
  Connection,
  Credentials,
  DialOptions,
  Listener,
  ListenOptions,
  Stream,
  Transport,
} from "@rk8s/protocol";
import { createQuicTransport } from "../index.js";
import { systemClock } from "./system-clock.js";
import { copyOf, TestCa } from "./test-pki.js";

export const ALPN = "rks/1";
export const SERVER_NAME = "rks-cluster";

/** A root and one certificate of each kind, made once per test file. */
export class Cluster {
  readonly transport: Transport = createQuicTransport({ clock: systemClock });
  readonly ca: TestCa;
  readonly #server: Credentials;
  readonly #client: Credentials;

  static async create(): Promise<Cluster> {
    const ca = await TestCa.create();
    return new Cluster(ca, await ca.issue(), await ca.issue({ name: "node-1", usage: "client" }));
  }

  private constructor(ca: TestCa, server: Credentials, client: Credentials) {
    this.ca = ca;
    this.#server = server;
    this.#client = client;
  }

  serverCredentials(): Credentials {
    return copyOf(this.#server);
  }

  clientCredentials(): Credentials {
    return copyOf(this.#client);
  }

  async listen(options: Partial<ListenOptions> & { transport?: Transport } = {}): Promise<Server> {
    const { transport = this.transport, ...rest } = options;
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      alpn: [ALPN],
      credentials: this.serverCredentials(),
      clientRoots: [this.ca.root],
      ...rest,
    });
    return new Server(listener);
  }

  dial(port: number, options: Partial<DialOptions> = {}): Promise<Connection> {
    return this.transport.dial({
      host: "127.0.0.1",
      port,
      alpn: ALPN,
      serverName: SERVER_NAME,
      roots: [this.ca.root],
      ...options,
    });
  }
}

/** A listener whose connections a test takes one by one. */
export class Server implements AsyncDisposable {
  readonly listener: Listener;
  readonly #connections: AsyncIterator<Connection>;

  constructor(listener: Listener) {
    this.listener = listener;
    this.#connections = listener.connections()[Symbol.asyncIterator]();
  }

  get port(): number {
    return this.listener.address.port;
  }

  async accept(): Promise<Connection> {
    const next = await this.#connections.next();
    if (next.done === true) throw new Error("the listener was closed");
    return next.value;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.listener.close();
  }
}

/** Send everything back on every stream of every connection, until the listener is closed. */
export async function serveEcho(listener: Listener): Promise<void> {
  for await (const connection of listener.connections()) void echoConnection(connection);
}

async function echoConnection(connection: Connection): Promise<void> {
  for await (const stream of connection.incomingStreams()) echo(stream).catch(() => stream.reset());
}

async function echo(stream: Stream): Promise<void> {
  for (let part = await stream.read(); part !== undefined; part = await stream.read())
    await stream.write(part);
  stream.end();
}

/** Write, end, and read everything that comes back. */
export async function request(connection: Connection, bytes: Uint8Array): Promise<Uint8Array> {
  const stream = await connection.openStream();
  const sent = stream.write(bytes).then(() => stream.end());
  const [received] = await Promise.all([readAll(stream), sent]);
  return received;
}

/** Everything up to the end of the stream. */
export async function readAll(stream: Stream): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let part = await stream.read(); part !== undefined; part = await stream.read()) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}
