import type { ErrorCode, SocketAddress } from "@rk8s/protocol";
import type { AgentPorts } from "../ports.js";
import { backoffMs, MOVE_BACKOFF } from "./backoff.js";
import type { RksAddresses } from "./rks-addresses.js";

/** A try to join that failed and may be made again. */
interface FailedTry {
  readonly code: ErrorCode;
  /** Who had been turned to. */
  readonly address: SocketAddress;
  /** Since the first one, from 1. */
  readonly attempt: number;
}

/**
 * How many milliseconds a node or an operator who joins waits before trying again. With a single control plane the pauses grow. Of
 * several, each pays for its own failures, as for a node that lost its session, and the one that may be tried first is turned to:
 * those that are away in turns would otherwise be tried ever more seldom, and each try would find the wrong one away.
 */
export function joinPause(
  failed: FailedTry,
  addresses: RksAddresses,
  ports: Pick<AgentPorts, "clock" | "random">,
): number {
  if (!addresses.isSeveral) return backoffMs(failed.attempt - 1, ports.random);
  const moveMs = backoffMs(0, ports.random, MOVE_BACKOFF);
  return Math.max(addresses.charge(failed.address, failed.code, ports), moveMs);
}
