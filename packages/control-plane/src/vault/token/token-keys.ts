import type { Write } from "@rk8s/storage";
import { leaseIdOfToken, leaseKey, timeKey } from "../lease/lease-keys.js";
import type { TokenEntry } from "./token-entry.js";

/** Where tokens live in the barrier. */
/** Where a token that is to be removed stands in the index by time: first. */
export const AT_ONCE_MS = 0;
export const TOKEN_PREFIX = "token/id/";
export const ACCESSOR_PREFIX = "token/accessor/";
export const CHILD_PREFIX = "token/child/";
export const TOKEN_EXPIRY_PREFIX = "token/expiry/";

const EMPTY = new Uint8Array(0);

/** Key under which a token is found when its time has come. */
function tokenExpiryKey(expiresAtMs: number, hash: string): string {
  return `${TOKEN_EXPIRY_PREFIX}${timeKey(expiresAtMs)}/${hash}`;
}

/** Key under which a token is found when its parent is revoked. */
function childKey(parent: string, child: string): string {
  return `${CHILD_PREFIX}${parent}/${child}`;
}

/** Keys, with their values, that point to a token besides its expiry. */
export function tokenIndex(entry: TokenEntry, hash: string, accessorHash: string): readonly Write[] {
  const value = Buffer.from(hash);
  return [
    { type: "put", key: ACCESSOR_PREFIX + accessorHash, value },
    ...(entry.parent === undefined
      ? []
      : [{ type: "put", key: childKey(entry.parent, hash), value: EMPTY } as const]),
    ...(entry.ttlSeconds === 0 ? [] : [{ type: "put", key: leaseOf(entry, hash), value } as const]),
  ];
}

/** The writes that move a token in the index by time. */
export function expiryWrites(
  hash: string,
  from: number | undefined,
  to: number | undefined,
): readonly Write[] {
  if (from === to) return [];
  return [
    ...(from === undefined ? [] : [{ type: "delete", key: tokenExpiryKey(from, hash) } as const]),
    ...(to === undefined ? [] : [{ type: "put", key: tokenExpiryKey(to, hash), value: EMPTY } as const]),
  ];
}

function leaseOf(entry: TokenEntry, hash: string): string {
  return leaseKey(leaseIdOfToken(entry.path, hash));
}
