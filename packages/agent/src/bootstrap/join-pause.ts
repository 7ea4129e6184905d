import type { ErrorCode, SocketAddress } from "@rk8s/protocol";
import type { AgentPorts } from "../ports.js";
import { backoffMs, MOVE_BACKOFF, searchPolicy } from "./backoff.js";
import type { RksAddresses } from "./rks-addresses.js";

/** A try to join that failed and may be made again. */
interface FailedTry {
  readonly code: ErrorCode;
  /** Whom the node had turned to. */
  readonly address: SocketAddress;
  /** Since the first one, from 1. */
  readonly attempt: number;
}

/**
 * How many milliseconds a joining node waits before it tries again. With a single control plane the pauses grow. Of several, each pays
 * for its own failures, as for a node that lost its session, and the one that may be tried first is turned to: those that
 * are away in turns would otherwise be tried ever more seldom, and each try would find the wrong one away.
 */
export function joinPause(
  failed: FailedTry,
  addresses: RksAddresses,
  { clock, random }: Pick<AgentPorts, "clock" | "random">,
): number {
  if (!addresses.isSeveral) return backoffMs(failed.attempt - 1, random);
  const moveMs = backoffMs(0, random, MOVE_BACKOFF);
  const policy = searchPolicy(failed.code, addresses);
  const dueMs = addresses.charge(failed.address, { policy, random, nowMs: clock.monotonicMs() });
  return Math.max(dueMs, moveMs);
}
