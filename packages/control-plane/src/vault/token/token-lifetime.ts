import type { TokenEntry } from "./token-entry.js";

/** What a mount says of lifetimes, in seconds. */
export interface MountTtls {
  readonly default: number;
  readonly max: number;
}

/** What is asked for a new token, in seconds; 0: nothing. */
export interface LifetimeWish {
  readonly ttlSeconds: number;
  readonly maxTtlSeconds: number;
  readonly explicitMaxTtlSeconds: number;
  readonly periodSeconds: number;
}

/** What it gets. */
export interface Lifetime {
  readonly ttlSeconds: number;
  readonly explicitMaxTtlSeconds: number;
  readonly periodSeconds: number;
  readonly expiresAtMs: number;
  readonly warnings: readonly string[];
}

/** Decide how long a new token lives; what was cut is warned of. */
export function chooseLifetime(wish: LifetimeWish, mount: MountTtls, nowMs: number): Lifetime {
  const warnings: string[] = [];
  const cut = (what: string, seconds: number, max: number): number => {
    if (seconds <= max) return seconds;
    warnings.push(`${what} of ${seconds} s is longer than the longest of ${max} s and was cut to it`);
    return max;
  };
  const explicitMaxTtlSeconds = cut("explicit_max_ttl", wish.explicitMaxTtlSeconds, mount.max);
  const periodSeconds = cut("period", wish.periodSeconds, mount.max);
  const max = least([explicitMaxTtlSeconds, periodSeconds > 0 ? 0 : wish.maxTtlSeconds, mount.max]);
  const wanted = periodSeconds > 0 ? periodSeconds : wish.ttlSeconds;
  const ttlSeconds = wanted === 0 ? Math.min(mount.default, max) : cut("ttl", wanted, max);
  return {
    ttlSeconds,
    explicitMaxTtlSeconds,
    periodSeconds,
    expiresAtMs: nowMs + ttlSeconds * 1000,
    warnings,
  };
}

/** When a token expires that is renewed now. `incrementSeconds` is the holder's wish, 0 for as long as at first. */
export function renewedExpiry(
  entry: TokenEntry,
  incrementSeconds: number,
  mount: MountTtls,
  nowMs: number,
): number {
  const first = incrementSeconds === 0 ? entry.ttlSeconds : incrementSeconds;
  const wanted = entry.periodSeconds > 0 ? Math.min(entry.periodSeconds, mount.max) : first;
  const bounds =
    entry.periodSeconds > 0
      ? [entry.explicitMaxTtlSeconds]
      : [entry.explicitMaxTtlSeconds, entry.login?.maxTtlSeconds ?? 0, mount.max];
  const max = least(bounds);
  const expiresAtMs = nowMs + wanted * 1000;
  return max === 0 ? expiresAtMs : Math.min(expiresAtMs, entry.createdAtMs + max * 1000);
}

/** The least of those that are set; 0 when none is. */
export function least(seconds: readonly number[]): number {
  const set = seconds.filter((value) => value > 0);
  return set.length === 0 ? 0 : Math.min(...set);
}
