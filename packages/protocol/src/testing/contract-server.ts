import { concatBytes } from "../bytes.js";
import { ALPN } from "../version.js";
import type {
  Connection,
  ConnectionLimits,
  Credentials,
  DialOptions,
  Listener,
  ListenOptions,
  Stream,
  Transport,
} from "../transport.js";

/** What an adapter brings to the transport contract. Credentials are made anew at each call: their keys get wiped. */
export interface TransportHarness {
  /** A fresh transport. Both ends of a test use the same one. */
  createTransport(): Transport | Promise<Transport>;
  /** Release what `createTransport` made. */
  destroyTransport?(transport: Transport): Promise<void>;
  /** A server's certificate for `serverName`, its chain ending with the one root. */
  serverCredentials(): Credentials;
  /** Another certificate for the same name from the same root. */
  otherServerCredentials(): Credentials;
  /** A client's certificate from the same root. */
  clientCredentials(): Credentials;
  /** A client's certificate from a root that is not in `roots`. */
  foreignClientCredentials(): Credentials;
  readonly serverName: string;
  /** DER. */
  readonly roots: readonly Uint8Array[];
  /** DER; a root that signed none of the server's certificates. */
  readonly foreignRoots: readonly Uint8Array[];
}

export const HOST = "127.0.0.1";

/** A listener whose connections and streams the test takes one by one. */
export class ContractServer implements AsyncDisposable {
  readonly listener: Listener;
  readonly #connections: AsyncIterator<Connection>;

  private constructor(listener: Listener) {
    this.listener = listener;
    this.#connections = listener.connections()[Symbol.asyncIterator]();
  }

  static async open(
    transport: Transport,
    harness: TransportHarness,
    options: Partial<ListenOptions> = {},
  ): Promise<ContractServer> {
    const listener = await transport.listen({
      host: HOST,
      port: 0,
      alpn: [ALPN],
      credentials: harness.serverCredentials(),
      clientRoots: harness.roots,
      ...options,
    });
    return new ContractServer(listener);
  }

  /** The next connection; undefined when the listener is closed. */
  async connection(): Promise<Connection | undefined> {
    const next = await this.#connections.next();
    return next.done === true ? undefined : next.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close();
  }
}

/** Everything that a dial to the server needs. */
export function dialOptions(
  server: ContractServer,
  harness: TransportHarness,
  options: Partial<DialOptions> & { readonly limits?: ConnectionLimits } = {},
): DialOptions {
  return {
    host: HOST,
    port: server.listener.address.port,
    alpn: ALPN,
    serverName: harness.serverName,
    roots: harness.roots,
    ...options,
  };
}

/** Two ends of one connection; the first stream was echoed, so both sides know that it is up. */
export class Pair implements AsyncDisposable {
  readonly server: ContractServer;
  readonly client: Connection;
  readonly accepted: Connection;
  readonly #streams: AsyncIterator<Stream>;

  private constructor(server: ContractServer, client: Connection, accepted: Connection) {
    this.server = server;
    this.client = client;
    this.accepted = accepted;
    this.#streams = accepted.incomingStreams()[Symbol.asyncIterator]();
  }

  static async open(
    transport: Transport,
    harness: TransportHarness,
    options: { readonly listen?: Partial<ListenOptions>; readonly dial?: Partial<DialOptions> } = {},
  ): Promise<Pair> {
    const server = await ContractServer.open(transport, harness, options.listen);
    const [client, accepted] = await Promise.all([
      transport.dial(dialOptions(server, harness, options.dial)),
      server.connection(),
    ]);
    return new Pair(server, client, accepted!);
  }

  /** The next stream that the client opened. */
  async stream(): Promise<Stream> {
    const next = await this.#streams.next();
    if (next.done === true) throw new Error("the connection ended where a stream was expected");
    return next.value;
  }

  /** Open a stream with a first byte on it, which makes it known to the server, and take it there. */
  async openStream(): Promise<{ readonly near: Stream; readonly far: Stream }> {
    const near = await this.client.openStream();
    await near.write(Uint8Array.of(1));
    const far = await this.stream();
    await far.read();
    return { near, far };
  }

  /** One round trip on a stream of its own: what was sent before it has had time to arrive. */
  async roundTrip(): Promise<void> {
    const { near, far } = await this.openStream();
    near.end();
    await readAll(far);
    await far.write(Uint8Array.of(2));
    far.end();
    await readAll(near);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.server[Symbol.asyncDispose]();
  }
}

/** Everything up to the end of the stream. */
export async function readAll(stream: Stream): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let part = await stream.read(); part !== undefined; part = await stream.read()) parts.push(part);
  return concatBytes(...parts);
}

/** Send back everything that comes on every stream, until the connection ends. */
export async function serveEcho(connection: Connection): Promise<void> {
  const served = new Set<Promise<void>>();
  for await (const stream of connection.incomingStreams()) {
    const echo = echoStream(stream).catch(() => stream.reset());
    served.add(echo);
    void echo.then(() => served.delete(echo));
  }
  await Promise.all(served);
}

async function echoStream(stream: Stream): Promise<void> {
  for (let part = await stream.read(); part !== undefined; part = await stream.read())
    await stream.write(part);
  stream.end();
}

/** Bytes that no two offsets share by accident. */
export function patternBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8) * 7) & 0xff);
}
