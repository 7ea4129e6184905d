import { LIMITS } from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";
import type { BackoffPolicy } from "../bootstrap/backoff.js";

/** Part of the lifetime after which the first agent of a fleet renews, and after which the last one has. */
const EARLIEST = 0.6;
const LATEST = 0.72;
/**
 * What a renewal leaves of the old certificate, where its lifetime allows: time for a slow one and its repetitions, and
 * for what is open on the old connection.
 */
const ROOM_MS = 4000;
/** However short a certificate lives, this part of its lifetime is used before the last agent renews. */
const SOONEST = 0.36;

/** Of what is left of a certificate, how much one step of a renewal may take: each may hang once, and a second try have room. */
const STEP_SHARE = 1 / 3;
/** Less than this is not enough for a handshake with a busy control plane. */
const MIN_STEP_MS = 500;

/** Times of a certificate, by the control plane's clock. */
type CertificateTimes = Pick<Identity, "issuedAt" | "notAfter">;

/**
 * The part of a certificate's lifetime after which it is renewed: about two thirds, and another part for every
 * certificate, so that a fleet that joined in one second does not renew in one. One that lives only seconds is renewed
 * sooner, see `dueInMs`.
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
 * says now: how old a certificate is is a question for the clock that dated it, and this host's may be wrong. Four seconds
 * are to be left when it is renewed, as far as its lifetime allows; the jitter of `point` stays in proportion.
 */
export function dueInMs(times: CertificateTimes, now: { serverNowMs: number; point: number }): number {
  const ageMs = Math.max(0, now.serverNowMs - times.issuedAt.getTime());
  const lifetime = lifetimeMs(times);
  const latestMs = Math.max(SOONEST * lifetime, Math.min(LATEST * lifetime, lifetime - ROOM_MS));
  return Math.max(0, Math.round((now.point / LATEST) * latestMs - ageMs));
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

/** How long one step on the way to a newer certificate, or to a connection with it, may take when so much is left of this one. */
export function stepTimeoutMs(leftMs: number): number {
  return Math.round(between(MIN_STEP_MS, leftMs * STEP_SHARE, LIMITS.requestTimeoutMs));
}

function between(low: number, value: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
