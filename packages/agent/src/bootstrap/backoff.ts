import type { ErrorCode } from "@rk8s/protocol";

/** How long to wait before trying again: full jitter between a floor and a doubling ceiling. */
export interface BackoffPolicy {
  /** Never wait less: a broken peer must not make anybody spin. */
  readonly floorMs: number;
  /** Ceiling of the first pause. */
  readonly baseMs: number;
  /** Ceiling of every later pause. */
  readonly capMs: number;
}

/** Half a second to half a minute: quick after a blip, and a thousand nodes spread over the half minute. */
export const DEFAULT_BACKOFF: BackoffPolicy = { floorMs: 500, baseMs: 1000, capMs: 30_000 };

/**
 * A control plane that does not answer is looked for every two seconds on average, so that it has its nodes back within
 * five of its return; five hundred of them are then some 170 handshakes a second (ADR 0025). Whoever answers, but
 * cannot serve, is left alone for longer.
 */
const SEARCH_BACKOFF: BackoffPolicy = { ...DEFAULT_BACKOFF, capMs: 3000 };
/**
 * On the way from one control plane to another. With a silence of up to 3.3 s before and a handshake after it, it is less
 * than five seconds.
 */
export const MOVE_BACKOFF: BackoffPolicy = { floorMs: 50, baseMs: 300, capMs: 1000 };
const NO_ANSWER: ReadonlySet<ErrorCode> = new Set(["CONNECTION_LOST", "TIMED_OUT", "UNREACHABLE"]);
/** After these, one of several control planes is looked for like one that is away. */
const NOT_NOW: ReadonlySet<ErrorCode> = new Set([...NO_ANSWER, "UNAVAILABLE", "VAULT_SEALED"]);

/** How long a control plane that failed so is left alone, as one of several or as the only one. */
export function searchPolicy(code: ErrorCode, { isSeveral }: { readonly isSeveral: boolean }): BackoffPolicy {
  return (isSeveral ? NOT_NOW : NO_ANSWER).has(code) ? SEARCH_BACKOFF : DEFAULT_BACKOFF;
}

/** The pause before retry number `attempt` (from 0), with `random()` uniform in [0, 1). */
export function backoffMs(
  attempt: number,
  random: () => number,
  policy: BackoffPolicy = DEFAULT_BACKOFF,
): number {
  const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(policy.floorMs + random() * Math.max(0, ceiling - policy.floorMs));
}
