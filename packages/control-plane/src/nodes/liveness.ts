/** How a node is, as far as the control plane can tell. */
export type Liveness = "Ready" | "NotReady" | "Unknown";

/** When the control plane heard of a node, by the monotonic clock. */
export interface Signs {
  /** Registration counts as a heartbeat. Undefined: never since this process started. */
  readonly lastHeartbeatMs: number | undefined;
  /** The agent said that it stops. */
  readonly isStopped: boolean;
  /** What the node says of itself: its own `Ready` condition is not anything but `True`. */
  readonly isHealthy: boolean;
}

/** Graces without a heartbeat after which nothing is known of a node any more. */
const UNKNOWN_AFTER_GRACES = 3;

/**
 * The rule, whatever becomes of connections in between: `Ready` while the last heartbeat is not older than the
 * grace, the agent has not said good-bye and calls itself healthy; `Unknown` when it is older than three
 * graces, or when nothing was heard since the control plane started; `NotReady` otherwise.
 */
export function livenessOf(
  signs: Signs,
  now: { readonly monotonicMs: number; readonly graceMs: number },
): Liveness {
  if (signs.lastHeartbeatMs === undefined) return "Unknown";
  const silentMs = now.monotonicMs - signs.lastHeartbeatMs;
  if (silentMs > UNKNOWN_AFTER_GRACES * now.graceMs) return "Unknown";
  return silentMs <= now.graceMs && signs.isHealthy && !signs.isStopped ? "Ready" : "NotReady";
}
