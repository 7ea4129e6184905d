import { expect, test } from "vitest";
import type { JsonObject } from "../../vault/backend.js";
import { parseRole } from "../role/role.js";
import { decideValidity, type Validity, type ValidityBounds } from "./validity.js";

const now = Date.UTC(2026, 5, 1, 12);
const HOUR = 3_600_000;

interface Asked {
  readonly name: string;
  readonly role?: JsonObject;
  readonly request?: { readonly ttl?: number; readonly not_before?: string; readonly not_after?: string };
  readonly bounds?: Partial<ValidityBounds>;
}

function decide({ role = {}, request = {}, bounds = {} }: Asked): Validity & { warnings: string[] } {
  const warnings: string[] = [];
  const validity = decideValidity(
    parseRole(role),
    { ttl: 0, not_before: "", not_after: "", ...request },
    {
      now,
      defaultTtlSeconds: 7200,
      maxTtlSeconds: 36_000,
      issuerNotAfter: now + 24 * HOUR,
      leafNotAfterBehavior: "err",
      ...bounds,
    },
    warnings,
  );
  return { ...validity, warnings };
}

// From and until, in hours from now.
test.each<Asked & { readonly from?: number; readonly until: number; readonly warning?: string }>([
  { name: "the mount's default", until: 2 },
  { name: "the role's ttl", role: { ttl: "3h" }, until: 3 },
  { name: "the request's ttl", role: { ttl: "3h" }, request: { ttl: 3600 }, until: 1 },
  { name: "a default above the role's max", role: { max_ttl: "1h" }, until: 1 },
  { name: "the role's max", role: { max_ttl: "1h" }, request: { ttl: 7200 }, until: 1, warning: "maxTTL" },
  { name: "the mount's max", request: { ttl: 72_000 }, until: 10, warning: "maxTTL" },
  { name: "a role's max above the mount's", role: { max_ttl: "20h" }, request: { ttl: 72_000 }, until: 20 },
  { name: "a date", request: { not_after: "2026-06-01T15:00:00Z" }, until: 3 },
  { name: "a date with offset", request: { not_after: "2026-06-01T17:00:00.9+02:00" }, until: 3 },
  {
    name: "a date beyond max_ttl",
    role: { max_ttl: "1h" },
    request: { not_after: "2026-06-02T11:00:00Z" },
    until: 23,
  },
  {
    name: "the role's date",
    role: { not_after: "2026-06-01T15:00:00Z" },
    request: { not_after: "2026-06-01T14:00:00Z" },
    until: 3,
  },
  {
    name: "a date within a dated bound",
    role: { not_after_bound: "2026-06-01T15:00:00Z" },
    request: { ttl: 3600 },
    until: 1,
  },
  {
    name: "a date within the ttl",
    role: { ttl: "5h", not_after_bound: "ttl-limited" },
    request: { not_after: "2026-06-01T15:00:00Z" },
    until: 3,
  },
  { name: "a beginning", request: { not_before: "2026-06-01T10:00:00Z" }, from: -2, until: 2 },
  { name: "a beginning to come", request: { not_before: "2026-06-01T13:00:00Z" }, from: 1, until: 2 },
  {
    name: "the role's beginning",
    role: { not_before: "2026-06-01T09:00:00Z", not_before_bound: "forbid" },
    request: { not_before: "2026-06-01T10:00:00Z" },
    from: -3,
    until: 2,
  },
  { name: "a backdated beginning", role: { not_before_duration: "2h" }, from: -2, until: 2 },
  {
    name: "a beginning within the duration",
    role: { not_before_duration: "2h", not_before_bound: "duration" },
    request: { not_before: "2026-06-01T10:00:00Z" },
    from: -2,
    until: 2,
  },
  {
    name: "an issuer that cuts",
    bounds: { issuerNotAfter: now + HOUR, leafNotAfterBehavior: "truncate" },
    until: 1,
    warning: "ends with its issuer",
  },
  {
    name: "an issuer that lets it",
    bounds: { issuerNotAfter: now + HOUR, leafNotAfterBehavior: "permit" },
    until: 2,
  },
  {
    name: "the year 9999",
    request: { not_after: "9999-12-31T23:59:59Z" },
    bounds: { leafNotAfterBehavior: "permit" },
    until: (Date.UTC(9999, 11, 31, 23, 59, 59) - now) / HOUR,
  },
])("$name: until $until hours from now", (asked) => {
  const { notBefore, notAfter, warnings } = decide(asked);
  const { from = -30_000 / HOUR, until, warning } = asked;
  expect([(notBefore - now) / HOUR, (notAfter - now) / HOUR]).toEqual([from, until]);
  expect(warnings).toHaveLength(warning === undefined ? 0 : 1);
  expect(warnings.join("")).toContain(warning ?? "");
});

test.each<Asked & { readonly says: string }>([
  {
    name: "ttl and not_after",
    request: { ttl: 60, not_after: "2026-06-01T15:00:00Z" },
    says: "Either ttl or not_after",
  },
  {
    name: "ttl beside the role's not_after",
    role: { not_after: "2026-06-01T15:00:00Z" },
    request: { ttl: 60 },
    says: "Either ttl or not_after",
  },
  {
    name: "a forbidden end",
    role: { not_after_bound: "forbid" },
    request: { not_after: "2026-06-01T15:00:00Z" },
    says: "set to forbid",
  },
  {
    name: "an end beyond the ttl",
    role: { ttl: "1h", not_after_bound: "ttl-limited" },
    request: { not_after: "2026-06-01T15:00:00Z" },
    says: "ttl-limited",
  },
  {
    name: "an end beyond the dated bound",
    role: { not_after_bound: "2026-06-01T13:00:00Z" },
    says: "would be beyond it",
  },
  {
    name: "a forbidden beginning",
    role: { not_before_bound: "forbid" },
    request: { not_before: "2026-06-01T11:00:00Z" },
    says: "set to forbid",
  },
  {
    name: "a beginning before the duration",
    role: { not_before_bound: "duration" },
    request: { not_before: "2026-06-01T11:00:00Z" },
    says: "older than",
  },
  {
    name: "an end beyond the issuer's",
    bounds: { issuerNotAfter: now + HOUR },
    says: "beyond the expiration of the CA certificate at 2026-06-01T13:00:00Z",
  },
  {
    name: "an issuer that is over",
    bounds: { issuerNotAfter: now - HOUR, leafNotAfterBehavior: "truncate" },
    says: "expired",
  },
  { name: "an end in the past", request: { not_after: "2026-05-01T15:00:00Z" }, says: "never be valid" },
  {
    name: "a beginning after the end",
    request: { ttl: 60, not_before: "2026-06-01T13:00:00Z" },
    says: "never be valid",
  },
  { name: "a date that is none", request: { not_after: "tomorrow" }, says: '"tomorrow" is not a date' },
  { name: "a date before 1970", request: { not_before: "1969-01-01T00:00:00Z" }, says: "is not a date" },
])("$name is refused", (asked) => {
  expect(() => decide(asked)).toThrow(
    expect.objectContaining({
      code: "INPUT_INVALID",
      message: expect.stringContaining(asked.says) as string,
    }) as Error,
  );
});
