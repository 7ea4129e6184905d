import { CLOSE_CODES } from "../close-codes.js";
import { RksError } from "../errors.js";
import { LIMITS } from "../limits.js";
import type {
  CloseOptions,
  Connection,
  Credentials,
  Listener,
  ListenOptions,
  ServerConfig,
  SocketAddress,
} from "../transport.js";
import { Arrivals } from "./arrivals.js";
import type { MemoryConnection } from "./memory-connection.js";

const DEFAULT_MAX_CONNECTIONS = 4096;

/** What a listener presents and trusts; its key is already wiped. */
interface PresentedConfig {
  readonly certificateChain: readonly Uint8Array[];
  readonly clientRoots: readonly Uint8Array[];
}

/** The accepting side of the memory transport. */
export class MemoryListener implements Listener {
  readonly address: SocketAddress;
  readonly alpn: readonly string[];
  readonly maxIncomingStreams: number;
  readonly #maxConnections: number;
  readonly #arrivals: Arrivals<Connection>;
  readonly #live = new Set<MemoryConnection>();
  readonly #release: () => void;
  #config: PresentedConfig;
  #closed = false;

  constructor(options: ListenOptions, address: SocketAddress, release: () => void) {
    this.address = address;
    this.alpn = options.alpn;
    this.maxIncomingStreams = options.limits?.maxIncomingStreams ?? LIMITS.maxStreamsPerConnection;
    this.#maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
    this.#arrivals = new Arrivals(this.#maxConnections);
    this.#release = release;
    this.#config = present(options);
  }

  /** What connections that begin now get to see. */
  get config(): PresentedConfig {
    return this.#config;
  }

  /** Take a connection whose handshake is done, or close it with `BUSY`. */
  accept(connection: MemoryConnection): void {
    if (this.#closed) {
      connection.lose();
      return;
    }
    if (this.#live.size >= this.#maxConnections || !this.#arrivals.add(connection)) {
      connection.close({ code: CLOSE_CODES.BUSY, reason: "too many connections" }).catch(() => undefined);
      return;
    }
    this.#live.add(connection);
    const forget = (): void => void this.#live.delete(connection);
    connection.ended.then(forget, forget);
  }

  connections(): AsyncIterable<Connection> {
    return this.#arrivals;
  }

  updateConfig(config: ServerConfig): void {
    this.#config = present(config);
  }

  async close(options: CloseOptions = {}): Promise<void> {
    this.#closed = true;
    this.#release();
    this.#arrivals.close();
    await Promise.all([...this.#live].map((connection) => connection.close(options)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Take the public half of a configuration and wipe the private key, as a TLS stack's adapter must. */
function present(config: ServerConfig): PresentedConfig {
  assertUsable(config.credentials);
  config.credentials.privateKey.fill(0);
  return {
    certificateChain: config.credentials.certificateChain.map((certificate) => certificate.slice()),
    clientRoots: config.clientRoots.map((root) => root.slice()),
  };
}

/** @throws {RksError} CONFIG_INVALID for an empty chain and for a key that was already wiped. */
export function assertUsable(credentials: Credentials): void {
  if (credentials.certificateChain.length === 0 || credentials.privateKey.every((byte) => byte === 0)) {
    throw new RksError(
      "CONFIG_INVALID",
      "the credentials have no certificate, or a key that was already wiped",
    );
  }
}
