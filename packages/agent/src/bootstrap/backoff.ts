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

/** The pause before retry number `attempt` (from 0), with `random()` uniform in [0, 1). */
export function backoffMs(
  attempt: number,
  random: () => number,
  policy: BackoffPolicy = DEFAULT_BACKOFF,
): number {
  const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(policy.floorMs + random() * Math.max(0, ceiling - policy.floorMs));
}
