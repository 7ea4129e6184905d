import {
  aborted,
  ALPN,
  CLOSE_CODES,
  type Credentials,
  type Listener,
  type ServerConfig,
  type SocketAddress,
  type Transport,
} from "@rk8s/protocol";
import { type ConnectionPorts, serveConnection } from "./connection-handler.js";
import type { ServerCertificate } from "./server-certificate.js";

/** Established connections: 10,000 nodes, each with a second one for a moment, and operators. */
const MAX_CONNECTIONS = 25_000;

export interface ServeInit {
  /** An IP address or host name. */
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
}

export interface ServePorts extends ConnectionPorts {
  readonly transport: Transport;
  /** Of every rks of this cluster; see `ListenOptions`. */
  readonly resetKey: Uint8Array;
  readonly certificate: ServerCertificate;
  /** Called with the first certificate and each new one; the key is wiped afterwards. */
  readonly onCertificate?: ((credentials: Credentials) => void) | undefined;
}

/** A cluster that is being served. */
export interface Serving {
  /** Where it listens; the port that was picked when 0 was asked for. */
  readonly address: SocketAddress;
  /** Resolves when everything has ended after the signal was aborted; rejects with what ended it before. */
  readonly ended: Promise<void>;
}

/**
 * Listen, and serve every connection, with a server certificate that is renewed without a restart. When the
 * signal is aborted, agents are told to come back later and everything ends.
 * @throws {RksError} UNREACHABLE when the address cannot be used; as `ServerCertificate.issue`.
 */
export async function serveCluster(
  init: ServeInit,
  ports: ServePorts,
  signal: AbortSignal,
): Promise<Serving> {
  signal.throwIfAborted();
  const { transport, certificate } = ports;
  const first = await certificate.issue();
  let listener: Listener;
  try {
    ports.onCertificate?.(first.config.credentials);
    listener = await transport.listen({
      ...init,
      ...first.config,
      alpn: [ALPN],
      maxConnections: MAX_CONNECTIONS,
      // Clients keep their connections alive; to do so from this side too would be a second packet for nothing.
      limits: { keepAliveIntervalMs: 0 },
      resetKey: ports.resetKey,
    });
  } finally {
    first.config.credentials.privateKey.fill(0);
  }
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const close = async (): Promise<void> =>
    listener.close({ code: CLOSE_CODES.UNAVAILABLE, reason: "the control plane stops" });
  const run = async (): Promise<void> => {
    try {
      const use = (config: ServerConfig): void => {
        // First: the transport wipes the key once it has it.
        ports.onCertificate?.(config.credentials);
        listener.updateConfig(config);
      };
      const renewing = certificate.keepFresh(first, use, { signal: stop.signal });
      const closing = aborted(stop.signal).then(close);
      // Without connections left to come there is nothing left to do, whoever closed the listener.
      const accepting = acceptAll(listener, ports).finally(() => stop.abort());
      await Promise.all([accepting, renewing, closing]);
    } finally {
      signal.removeEventListener("abort", onAbort);
      stop.abort();
      await close();
    }
  };
  const ended = run();
  if (signal.aborted) onAbort();
  return { address: listener.address, ended };
}

async function acceptAll(listener: Listener, ports: ConnectionPorts): Promise<void> {
  const active = new Set<Promise<void>>();
  for await (const connection of listener.connections()) {
    const done = serveConnection(connection, ports).finally(() => active.delete(done));
    active.add(done);
  }
  await Promise.all(active);
}
