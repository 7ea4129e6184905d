import type { Clock } from "../clock.js";
import { RksError } from "../errors.js";
import { LIMITS } from "../limits.js";
import type {
  DialOptions,
  Listener,
  ListenOptions,
  ProbeOptions,
  SocketAddress,
  Transport,
} from "../transport.js";
import { MemoryConnection } from "./memory-connection.js";
import { type MemoryFault, MemoryFaults } from "./memory-fault.js";
import { MemoryLink, type MemoryLinkOptions } from "./memory-link.js";
import { assertUsable, MemoryListener } from "./memory-listener.js";
import { presentsRoot, type VerifyChain } from "./verify-chain.js";

export interface MemoryTransportOptions {
  /** One-way delay of everything; needs `clock`. Default 0: as soon as the running code awaits something. */
  readonly latencyMs?: number;
  /** Share of deliveries (0 to 1) that come three latencies later, as a lost packet does; needs `latencyMs`. */
  readonly lossRate?: number;
  /** Decides what is lost. Default: `Math.random`. */
  readonly random?: () => number;
  readonly clock?: Clock;
  /** Bytes that one direction of a stream takes before its writer waits. Default 65,536. */
  readonly bufferBytes?: number;
  /** How certificates are judged. Default: `presentsRoot`. */
  readonly verify?: VerifyChain;
}

/** A transport within this process, with levers for what goes wrong on real networks. */
export interface MemoryTransport extends Transport {
  /** Hit the next stream that carries bytes from that side. */
  inject(fault: MemoryFault): void;
  /** Lose every connection that is up now, as when a cable is pulled. */
  loseConnections(): void;
}

const FIRST_FREE_PORT = 40_001;

/**
 * Make a transport whose listeners are reached by everyone who dials through the same object. It keeps the contract of
 * `Transport`, except that nothing ever times out: idle, handshake and keep-alive limits have no effect.
 */
export function createMemoryTransport(init: MemoryTransportOptions = {}): MemoryTransport {
  const { latencyMs = 0, lossRate = 0, random = Math.random, clock, bufferBytes = 65_536 } = init;
  const { verify = presentsRoot } = init;
  if (latencyMs > 0 && clock === undefined) throw new TypeError("latency needs a clock");
  if (lossRate > 0 && latencyMs === 0) throw new TypeError("loss is a longer latency, so it needs one");
  const linkOptions: MemoryLinkOptions = { latencyMs, lossRate, random, clock };
  const listeners = new Map<number, MemoryListener>();
  const connections = new Set<MemoryConnection>();
  const faults = new MemoryFaults();
  let nextPort = FIRST_FREE_PORT;

  return {
    listen(options) {
      return Promise.resolve().then(() => openListener(options));
    },
    async dial(options) {
      const { alpn, serverName, roots, credentials, signal } = options;
      const listener = await reach(options);
      if (credentials !== undefined) assertUsable(credentials);
      const server = listener.config;
      verify({ usage: "server", chain: server.certificateChain, roots, serverName });
      const clientChain = copyChain(credentials?.certificateChain ?? []);
      credentials?.privateKey.fill(0);
      signal?.throwIfAborted();

      const toServer = new MemoryLink(linkOptions);
      const toClient = new MemoryLink(linkOptions);
      const clientAddress: SocketAddress = { host: "127.0.0.1", port: nextPort++ };
      const streams = {
        client: options.limits?.maxIncomingStreams ?? LIMITS.maxStreamsPerConnection,
        server: listener.maxIncomingStreams,
      };
      const shared = { alpn, serverName, bufferBytes };
      const client = new MemoryConnection(
        {
          ...shared,
          side: "client",
          localAddress: clientAddress,
          remoteAddress: listener.address,
          localCertificates: clientChain,
          peerCertificates: copyChain(server.certificateChain),
          maxOutgoingStreams: streams.server,
          maxIncomingStreams: streams.client,
        },
        toServer,
        faults,
      );
      const accepted = new MemoryConnection(
        {
          ...shared,
          side: "server",
          localAddress: listener.address,
          remoteAddress: clientAddress,
          localCertificates: copyChain(server.certificateChain),
          peerCertificates: copyChain(clientChain),
          maxOutgoingStreams: streams.client,
          maxIncomingStreams: streams.server,
        },
        toClient,
        faults,
      );
      MemoryConnection.join(client, accepted);
      track(client);
      // TLS 1.3: the client is done before the server has judged its certificate.
      toServer.send(() => {
        const refusal = clientRefusal(clientChain, server.clientRoots);
        if (refusal === undefined) listener.accept(accepted);
        else client.lose(refusal);
      });
      return client;
    },
    async probe(options) {
      const listener = await reach(options);
      return copyChain(listener.config.certificateChain);
    },
    inject(fault) {
      faults.add(fault);
    },
    loseConnections() {
      for (const connection of connections) connection.lose();
    },
  };

  function openListener(options: ListenOptions): Listener {
    const port = options.port === 0 ? nextPort++ : options.port;
    if (listeners.has(port)) throw new RksError("UNREACHABLE", `port ${port} is already in use`);
    const address = { host: options.host === "localhost" ? "127.0.0.1" : options.host, port };
    const listener = new MemoryListener(options, address, () => listeners.delete(port));
    listeners.set(port, listener);
    return listener;
  }

  async function reach(target: DialOptions | ProbeOptions): Promise<MemoryListener> {
    const { signal } = target;
    signal?.throwIfAborted();
    if (latencyMs > 0) await clock?.sleep(2 * latencyMs, { signal });
    else await Promise.resolve();
    signal?.throwIfAborted();
    const listener = listeners.get(target.port);
    if (listener === undefined) {
      throw new RksError("UNREACHABLE", `nothing answers at ${target.host}:${target.port}`);
    }
    if (!listener.alpn.includes(target.alpn)) {
      throw new RksError(
        "VERSION_UNSUPPORTED",
        `${target.host}:${target.port} does not speak "${target.alpn}"`,
      );
    }
    return listener;
  }

  function clientRefusal(chain: readonly Uint8Array[], roots: readonly Uint8Array[]): RksError | undefined {
    if (chain.length === 0) return undefined;
    try {
      verify({ usage: "client", chain, roots, serverName: undefined });
      return undefined;
    } catch (error) {
      return RksError.from(error);
    }
  }

  function track(connection: MemoryConnection): void {
    connections.add(connection);
    const forget = (): void => void connections.delete(connection);
    connection.ended.then(forget, forget);
  }
}

function copyChain(chain: readonly Uint8Array[]): Uint8Array[] {
  return chain.map((certificate) => certificate.slice());
}
