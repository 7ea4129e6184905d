import { RksError } from "@rk8s/protocol";
import type { NotAfterBehavior } from "../issuer/issuer.js";
import { requireDate } from "../role/date-text.js";
import type { PkiRole } from "../role/role-fields.js";

/** What a request asks about the time of a certificate. */
export interface ValidityRequest {
  /** Seconds; 0: the role's. */
  readonly ttl: number;
  /** Dates; empty: by the role. */
  readonly not_before: string;
  readonly not_after: string;
}

/** What decides about the time of a certificate besides role and request. */
export interface ValidityBounds {
  /** Milliseconds. */
  readonly now: number;
  /** Bounds of the mount. */
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
  /** Milliseconds. */
  readonly issuerNotAfter: number;
  readonly leafNotAfterBehavior: NotAfterBehavior;
}

type RoleTimes = Pick<
  PkiRole,
  | "ttl"
  | "max_ttl"
  | "not_before_duration"
  | "not_before"
  | "not_before_bound"
  | "not_after"
  | "not_after_bound"
>;

/** Milliseconds, whole seconds. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Decide from when until when a certificate is valid; OpenBao's rules. A ttl above the role's is cut, and what would outlive
 * an issuer with `truncate` too, both with a warning.
 * @throws {RksError} INPUT_INVALID for dates that the role does not leave to the request, ttl beside not_after, an end beyond
 * the issuer's, an end that is not after the beginning.
 */
export function decideValidity(
  role: RoleTimes,
  request: ValidityRequest,
  bounds: ValidityBounds,
  warnings: string[],
): Validity {
  const notBefore = wholeSeconds(decideNotBefore(role, request, bounds));
  const wanted = wholeSeconds(decideNotAfter(role, request, bounds, warnings));
  const notAfter = withinIssuer(wanted, bounds, warnings);
  const { not_after_bound: bound } = role;
  if (isDateBound(bound) && notAfter > requireDate("not_after_bound", bound)) {
    refuse(
      `not_after_bound is set to ${bound}: a certificate until ${iso(notAfter)} would be beyond it`,
      "Ask for an earlier end.",
    );
  }
  if (notAfter <= notBefore) {
    refuse(
      `a certificate from ${iso(notBefore)} until ${iso(notAfter)} would never be valid`,
      "Ask for an end that is after the beginning.",
    );
  }
  return { notBefore, notAfter };
}

/** A notBefore that lies in the past, but not before the epoch, which not every verifier can count back beyond. */
export function backdated(now: number, seconds: number): number {
  return Math.max(0, now - seconds * 1000);
}

function decideNotBefore(role: RoleTimes, request: ValidityRequest, { now }: ValidityBounds): number {
  const { not_before_bound: bound, not_before_duration: seconds } = role;
  if (role.not_before !== "") return requireDate("not_before", role.not_before);
  if (request.not_before === "") return backdated(now, seconds);
  if (bound === "forbid") {
    refuse("not_before_bound is set to forbid. not_before cannot be provided.", "Leave not_before out.");
  }
  const notBefore = requireDate("not_before", request.not_before);
  if (bound === "duration" && notBefore < wholeSeconds(backdated(now, seconds))) {
    refuse(
      `not_before_bound is set to duration: ${iso(notBefore)} is older than the not_before_duration of ${seconds} seconds allows`,
      "Ask for a later beginning, or raise not_before_duration on the role.",
    );
  }
  return notBefore;
}

function decideNotAfter(
  role: RoleTimes,
  request: ValidityRequest,
  bounds: ValidityBounds,
  warnings: string[],
): number {
  const { not_after_bound: bound } = role;
  if (role.not_after === "" && request.not_after !== "" && bound === "forbid") {
    refuse("not_after_bound is set to forbid. not_after cannot be provided.", "Give ttl instead.");
  }
  const text = role.not_after === "" ? request.not_after : role.not_after;
  if (text !== "" && request.ttl > 0) {
    refuse(
      "Either ttl or not_after should be provided. Both should not be provided in the same request.",
      role.not_after === "" ? "Leave one of them out." : "Leave ttl out: the role has a not_after.",
    );
  }
  const end = text === "" ? undefined : requireDate("not_after", text);
  const max = role.max_ttl || bounds.maxTtlSeconds;
  let ttl = request.ttl || role.ttl || Math.min(bounds.defaultTtlSeconds, max);
  if (ttl > max) {
    if (end === undefined) {
      warnings.push(
        `TTL of ${ttl} seconds is longer than permitted maxTTL of ${max} seconds, so maxTTL is being used`,
      );
    }
    ttl = max;
  }
  const byTtl = wholeSeconds(bounds.now) + ttl * 1000;
  if (end === undefined) return byTtl;
  if (bound === "ttl-limited" && role.not_after === "" && end > byTtl) {
    refuse(
      `not_after_bound is set to ttl-limited: ${iso(end)} is beyond the ttl of ${ttl} seconds`,
      "Ask for an earlier end, or raise the role's ttl.",
    );
  }
  return end;
}

function withinIssuer(notAfter: number, bounds: ValidityBounds, warnings: string[]): number {
  const { issuerNotAfter, leafNotAfterBehavior: behavior, now } = bounds;
  if (notAfter <= issuerNotAfter || behavior === "permit") return notAfter;
  if (behavior === "err") {
    refuse(
      `cannot satisfy request, as TTL would result in notAfter of ${iso(notAfter)} that is beyond the expiration of the CA certificate at ${iso(issuerNotAfter)}`,
      "Ask for a shorter ttl, set leaf_not_after_behavior=truncate on the issuer, or make a new issuer.",
    );
  }
  if (issuerNotAfter <= now) {
    refuse(`the issuer's certificate expired at ${iso(issuerNotAfter)}`, "Make a new issuer.");
  }
  warnings.push(
    `the certificate ends with its issuer at ${iso(issuerNotAfter)} instead of at ${iso(notAfter)}`,
  );
  return issuerNotAfter;
}

function isDateBound(bound: string): boolean {
  return bound !== "permit" && bound !== "forbid" && bound !== "ttl-limited";
}

function wholeSeconds(timeMs: number): number {
  return Math.floor(timeMs / 1000) * 1000;
}

/** In Go's spelling, which has no fraction of a second that is zero. */
function iso(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(".000Z", "Z");
}

function refuse(problem: string, suggestion: string): never {
  throw new RksError("INPUT_INVALID", problem, { suggestion });
}
