import type { ErrorCode, MessageType } from "@rk8s/protocol";

/**
 * Counts what happens in a cluster: joins, renewals, recoveries and heartbeats are messages, told apart by type and
 * result. Nothing here is a peer's choice, so that the number of labels is bounded.
 */
export interface ClusterMeter {
  /** A message was answered, or refused with a code; `unreadable` is what was no message at all. */
  answered(type: MessageType | "unreadable", result: "done" | ErrorCode): void;
  /** A connection was refused for its certificate, or for what the store says of it. */
  refused(code: ErrorCode): void;
  /** Signs of a copied identity: an older certificate was presented, or two processes used one identity and both were refused. */
  cloneSuspected(sign: "older certificate" | "two processes"): void;
}

/** Counts nothing. */
export const UNCOUNTED: ClusterMeter = {
  answered() {},
  refused() {},
  cloneSuspected() {},
};
