import type { Identity } from "../identity/identity.js";
import type { BackoffPolicy } from "../bootstrap/backoff.js";

/** Part of the lifetime after which the first agent of a fleet renews, and after which the last one has. */
const EARLIEST = 0.6;
const LATEST = 0.72;

/** Times of a certificate, by the control plane's clock. */
type CertificateTimes = Pick<Identity, "issuedAt" | "notAfter">;

/**
 * The part of a certificate's lifetime after which it is renewed: about two thirds, and another part for every
 * certificate, so that a fleet that joined in one second does not renew in one.
 */
export function renewalPoint(random: () => number): number {
  return EARLIEST + random() * (LATEST - EARLIEST);
}

/** How long a certificate lives from its issue, in milliseconds; it is backdated, which does not count. */
export function lifetimeMs({ issuedAt, notAfter }: CertificateTimes): number {
  return Math.max(0, notAfter.getTime() - issuedAt.getTime());
}

/**
 * Milliseconds until a certificate is due for renewal, 0 when it is. `serverNowMs` is what the control plane's clock
 * says now: how old a certificate is is a question for the clock that dated it, and this host's may be wrong.
 */
export function dueInMs(times: CertificateTimes, now: { serverNowMs: number; point: number }): number {
  const ageMs = Math.max(0, now.serverNowMs - times.issuedAt.getTime());
  return Math.max(0, Math.round(now.point * lifetimeMs(times) - ageMs));
}

/**
 * How fast a failed renewal is tried again: a third of the lifetime is left when it begins, and that is to be room
 * for several tries of a certificate of ten seconds and for an outage of minutes of one of an hour.
 */
export function renewalBackoff(times: CertificateTimes): BackoffPolicy {
  const lifetime = lifetimeMs(times);
  return {
    floorMs: between(100, lifetime / 40, 500),
    baseMs: between(200, lifetime / 20, 1000),
    capMs: between(500, lifetime / 20, 60_000),
  };
}

/** How long to wait for the answer to a request for a certificate that lives so long. */
export function renewalTimeoutMs(times: CertificateTimes): number {
  return between(1000, lifetimeMs(times) / 5, 10_000);
}

function between(low: number, value: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
