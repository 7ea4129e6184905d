/** Where leases live in the barrier. */
export const LEASE_PREFIX = "lease/id/";
export const LEASE_EXPIRY_PREFIX = "lease/expiry/";
export const TOKEN_LEASE_PREFIX = "lease/token/";

/** Digits enough for any date, so that text order is time order. */
const TIME_DIGITS = 16;
const TOKEN_LEASE = /\/h([0-9a-f]{64})$/;

/** Key of a lease, or of what stands for a token among the leases. */
export function leaseKey(id: string): string {
  return LEASE_PREFIX + id;
}

/** Key under which a lease is found when its time has come. */
export function leaseExpiryKey(dueAtMs: number, id: string): string {
  return `${LEASE_EXPIRY_PREFIX}${timeKey(dueAtMs)}/${id}`;
}

/** Key under which a lease is found when its token ends. */
export function tokenLeaseKey(tokenHash: string, id: string): string {
  return `${TOKEN_LEASE_PREFIX}${tokenHash}/${id}`;
}

/** The lease that a token is, as Vault's operators see it: below the path that made it. */
export function leaseIdOfToken(path: string, tokenHash: string): string {
  return `${path}/h${tokenHash}`;
}

/** The token that a lease id stands for; undefined when it is the id of a secret's lease. */
export function tokenOfLeaseId(id: string): string | undefined {
  return TOKEN_LEASE.exec(id)?.[1];
}

/** A time as part of a key. */
export function timeKey(ms: number): string {
  return String(ms).padStart(TIME_DIGITS, "0");
}

/** Take a key of an index by time apart. */
export function readTimeKey(
  prefix: string,
  key: string,
): { readonly dueAtMs: number; readonly id: string } | undefined {
  const rest = key.slice(prefix.length);
  const dueAtMs = Number(rest.slice(0, TIME_DIGITS));
  if (!Number.isSafeInteger(dueAtMs) || rest[TIME_DIGITS] !== "/") return undefined;
  return { dueAtMs, id: rest.slice(TIME_DIGITS + 1) };
}
