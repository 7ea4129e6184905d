import { isIPv6 } from "node:net";
import { LinkedAbort, RksError } from "@rk8s/protocol";
import type { ConnectionEnd, ConnectionLimits, Logger, SocketAddress } from "@rk8s/protocol";
import { QuicConnection } from "./connection.js";
import { Endpoint } from "./endpoint.js";
import { addressText, dialError, handshakeTimedOut, isCertificateRefusal, unreachable } from "./error.js";
import type { NativeEnd } from "./error.js";
import { firstSuccess } from "./first-success.js";
import type { EndpointConfig } from "./native-config.js";
import type { NativeConnection, NativeQuiche } from "./native-binding.js";
import { CONNECTION_ID_BYTES } from "./packet-header.js";
import { resolveHost } from "./resolve-host.js";
import { asError, onAbort } from "./stream.js";
import { nativeAddress } from "./udp-socket.js";

export interface DialerPorts {
  readonly quiche: NativeQuiche;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly scratch: Uint8Array;
  readonly logger: Logger;
}

export interface DialInit {
  readonly host: string;
  readonly port: number;
  readonly serverName: string;
  readonly config: EndpointConfig;
  readonly limits: Required<ConnectionLimits>;
  /** See `DialOptions`. */
  readonly answerTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told the certificates of a server that is refused because of them. */
  readonly onRefusedChain?: (chain: readonly Uint8Array[]) => void;
}

/** RFC 8305 §5 recommends 250 ms between the attempts at the addresses of one name. */
const ATTEMPT_STAGGER_MS = 250;

/**
 * Open connections, each on a UDP socket of its own that is connected to the server: the kernel then drops what
 * others send, tells at once when nobody listens, and keeps a receive buffer per connection. It costs 0.2 ms.
 */
export class Dialer {
  readonly #ports: DialerPorts;

  constructor(ports: DialerPorts) {
    this.#ports = ports;
  }

  /** @throws {RksError} as `Transport.dial` says; the reason of `init.signal` when it is aborted. */
  async dial(init: DialInit): Promise<QuicConnection> {
    const { signal: outer, limits } = init;
    outer?.throwIfAborted();
    const target = addressText(init.host, init.port);
    using deadline = new LinkedAbort(outer);
    const timer = setTimeout(
      () => deadline.abort(handshakeTimedOut(target, limits.handshakeTimeoutMs)),
      limits.handshakeTimeoutMs,
    );
    const { signal } = deadline;
    try {
      return await this.#connect(init, target, signal);
    } catch (reason) {
      if (signal.aborted) throw signal.reason;
      throw reason;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Fetch the server's certificates. `init.config` must trust nobody: the handshake then ends at the server's
   * certificate, so that the server never sees a connection.
   * @throws {RksError} as `dial` does when there are no certificates to be had.
   */
  async probe(init: DialInit): Promise<readonly Uint8Array[]> {
    let chain: readonly Uint8Array[] = [];
    const onRefusedChain = (refused: readonly Uint8Array[]): void => {
      chain = refused;
    };
    try {
      const connection = await this.dial({ ...init, onRefusedChain });
      connection.closeNow();
    } catch (reason) {
      if (chain.length === 0) throw reason;
    }
    return chain;
  }

  async #connect(init: DialInit, target: string, signal: AbortSignal): Promise<QuicConnection> {
    const addresses = await untilAborted(resolveHost(init.host), signal).catch((cause: unknown) => {
      throw unreachable(target, cause);
    });
    const attempt = (host: string, attemptSignal: AbortSignal): Promise<QuicConnection> =>
      this.#handshake(init, { host, port: init.port }, target, attemptSignal);
    const discard = (connection: QuicConnection): void => connection.closeNow();
    try {
      return await firstSuccess(addresses, attempt, { staggerMs: ATTEMPT_STAGGER_MS, signal, discard });
    } catch (reason) {
      throw reason instanceof AggregateError ? mostTelling(reason.errors) : reason;
    }
  }

  async #handshake(
    init: DialInit,
    remote: SocketAddress,
    target: string,
    signal: AbortSignal,
  ): Promise<QuicConnection> {
    const endpoint = await openEndpoint(remote, this.#ports.logger).catch((cause: unknown) => {
      throw unreachable(target, cause);
    });
    try {
      signal.throwIfAborted();
      return await this.#handshakeOn(endpoint, init, remote, target, signal);
    } finally {
      endpoint.closeIfEmpty();
    }
  }

  #handshakeOn(
    endpoint: Endpoint,
    init: DialInit,
    remote: SocketAddress,
    target: string,
    signal: AbortSignal,
  ): Promise<QuicConnection> {
    const scid = this.#ports.randomBytes(CONNECTION_ID_BYTES);
    const native = this.#connectNative(init, scid, endpoint.local, remote);
    return new Promise((resolve, reject) => {
      const connection = new QuicConnection({
        native,
        endpoint,
        id: Buffer.from(scid).toString("latin1"),
        role: "client",
        remote,
        serverName: init.serverName,
        localCertificates: init.config.localCertificates,
        limits: init.limits,
        scratch: this.#ports.scratch,
        logger: this.#ports.logger,
        onEstablished: (established) => {
          detach();
          resolve(established);
        },
        onEnded: (_connection, end, nativeEnd) => {
          detach();
          if (isCertificateRefusal(nativeEnd.local)) init.onRefusedChain?.(native.peerCertChain() ?? []);
          reject(handshakeError(end, nativeEnd, target, init));
        },
      });
      const giveUp = (reason: Error): void => {
        connection.drop(new RksError("TIMED_OUT", "the dial was given up"));
        reject(reason);
      };
      const stopListening = onAbort(signal, () => giveUp(asError(signal.reason)));
      const { answerTimeoutMs } = init;
      const timer =
        answerTimeoutMs === undefined
          ? undefined
          : setTimeout(() => {
              if (!connection.hasHeard) giveUp(handshakeTimedOut(target, answerTimeoutMs));
            }, answerTimeoutMs);
      const detach = (): void => {
        clearTimeout(timer);
        stopListening();
      };
      connection.flush();
    });
  }

  #connectNative(
    init: DialInit,
    scid: Uint8Array,
    local: SocketAddress,
    remote: SocketAddress,
  ): NativeConnection {
    try {
      return this.#ports.quiche.Connection.connect(
        init.serverName,
        scid,
        nativeAddress(local),
        nativeAddress(remote),
        init.config.native,
      );
    } catch (cause) {
      throw new RksError("CONFIG_INVALID", `the server name "${init.serverName}" cannot be used`, {
        cause,
        suggestion: "Use the DNS name that the server's certificate carries.",
      });
    }
  }
}

function openEndpoint(remote: SocketAddress, logger: Logger): Promise<Endpoint> {
  const host = isIPv6(remote.host) ? "::" : "0.0.0.0";
  return Endpoint.open({ host, port: 0, peer: remote, closesWhenEmpty: true, logger });
}

function handshakeError(end: ConnectionEnd, native: NativeEnd, target: string, init: DialInit): Error {
  if (native.local !== undefined || native.peer !== undefined)
    return dialError(native, target, init.serverName);
  if (end.error instanceof RksError && end.error.code === "UNREACHABLE")
    return unreachable(target, end.error.cause);
  return handshakeTimedOut(target, Math.min(init.limits.handshakeTimeoutMs, init.limits.idleTimeoutMs));
}

/** Of the failures at several addresses, one that says something about the server before those of the network. */
function mostTelling(reasons: readonly unknown[]): unknown {
  const isOfNetwork = (reason: unknown): boolean =>
    reason instanceof RksError && (reason.code === "UNREACHABLE" || reason.code === "TIMED_OUT");
  return reasons.find((reason) => !isOfNetwork(reason)) ?? reasons[0];
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let detach = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    detach = onAbort(signal, () => reject(asError(signal.reason)));
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    detach();
  }
}
