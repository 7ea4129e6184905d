import { LIMITS, RksError } from "@rk8s/protocol";
import type { ConnectionLimits } from "@rk8s/protocol";

/** What `ConnectionLimits` leaves out; the reasons stand with the protocol's limits. */
const DEFAULT_CONNECTION_LIMITS = {
  idleTimeoutMs: LIMITS.idleTimeoutMs,
  handshakeTimeoutMs: LIMITS.handshakeTimeoutMs,
  /** With a shorter idle timeout, a third of it. */
  keepAliveIntervalMs: LIMITS.keepAliveIntervalMs,
  maxIncomingStreams: LIMITS.maxStreamsPerConnection,
} as const satisfies Required<ConnectionLimits>;

/** Half-open handshakes of one listener, some 50 KB each, every one from an address that proved to be real. */
export const DEFAULT_MAX_HANDSHAKES = 256;

/** Established connections of one listener, some 50 KB each. */
export const DEFAULT_MAX_CONNECTIONS = 10_000;

/** Largest UDP payload sent: fits every path that carries an Ethernet frame with a tunnel's header in it. */
export const MAX_UDP_PAYLOAD_BYTES = 1350;

/** Unread bytes that a peer may have under way on one stream at the start; it grows with the reader's speed. */
export const STREAM_WINDOW_BYTES = 256 * 1024;
export const MAX_STREAM_WINDOW_BYTES = 4 * 1024 * 1024;

/** Unread bytes that a peer may have under way on all streams of a connection. */
export const CONNECTION_WINDOW_BYTES = 1024 * 1024;
export const MAX_CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;

/** Datagrams that one connection may send before the others and the event loop get their turn. */
export const SEND_BURST_DATAGRAMS = 64;

/**
 * Datagrams that a connection may send without hearing anything back. No congestion window gets there (44 MB);
 * a native connection that does has lost its way and is dropped.
 */
export const MAX_UNANSWERED_DATAGRAMS = 32_768;

/**
 * Addresses that a peer may have had over one connection, as a NAT that forgets gives it another port. quiche keeps a
 * path for each of them to the end and takes its bound from the limit of connection ids, which is 2 by itself: from
 * the second new port on nothing would arrive any more. Packets from further addresses are dropped, so that the
 * connection ends by its idle timeout.
 */
export const MAX_PATHS = 16;

/** UDP receive buffer to ask for; a mass close is a burst of small datagrams. The system may grant less. */
export const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;

/** UTF-8 bytes of a close reason; it has to fit one packet with everything around it. */
export const MAX_CLOSE_REASON_BYTES = 256;

/**
 * Fill in the defaults.
 * @throws {RksError} CONFIG_INVALID for a limit that is not a whole number in its range, and when the keep-alive
 * interval is not shorter than the idle timeout.
 */
export function completeLimits(limits: ConnectionLimits = {}): Required<ConnectionLimits> {
  const idleTimeoutMs = limits.idleTimeoutMs ?? DEFAULT_CONNECTION_LIMITS.idleTimeoutMs;
  assertWhole("idleTimeoutMs", idleTimeoutMs, 1);
  const complete = {
    idleTimeoutMs,
    handshakeTimeoutMs: limits.handshakeTimeoutMs ?? DEFAULT_CONNECTION_LIMITS.handshakeTimeoutMs,
    keepAliveIntervalMs:
      limits.keepAliveIntervalMs ??
      Math.min(DEFAULT_CONNECTION_LIMITS.keepAliveIntervalMs, Math.floor(idleTimeoutMs / 3)),
    maxIncomingStreams: limits.maxIncomingStreams ?? DEFAULT_CONNECTION_LIMITS.maxIncomingStreams,
  };
  assertWhole("handshakeTimeoutMs", complete.handshakeTimeoutMs, 1);
  assertWhole("keepAliveIntervalMs", complete.keepAliveIntervalMs, 0);
  assertWhole("maxIncomingStreams", complete.maxIncomingStreams, 0);
  if (complete.keepAliveIntervalMs >= complete.idleTimeoutMs) {
    throw new RksError(
      "CONFIG_INVALID",
      `keepAliveIntervalMs "${complete.keepAliveIntervalMs}" is not shorter than idleTimeoutMs "${complete.idleTimeoutMs}"`,
      { suggestion: "Choose a keep-alive interval of at most half the idle timeout." },
    );
  }
  return complete;
}

/** @throws {RksError} CONFIG_INVALID unless `value` is a whole number from `least` to 2^31-1 (what timers take). */
export function assertWhole(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least && value <= 0x7fff_ffff) return;
  throw new RksError("CONFIG_INVALID", `${name} "${value}" is not a whole number of at least ${least}`, {
    suggestion: `Set ${name} to a whole number between ${least} and 2147483647.`,
  });
}
