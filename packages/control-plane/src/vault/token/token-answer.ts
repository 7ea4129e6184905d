import type { JsonObject } from "../backend.js";
import type { VaultAuth } from "../request.js";
import { remainingSeconds, type TokenEntry } from "./token-entry.js";

/** The data of a lookup. `id` is the token, or empty where the asker does not hold it. */
export function describeToken(entry: TokenEntry, id: string, nowMs: number): JsonObject {
  return {
    id,
    accessor: entry.accessor,
    policies: entry.policies,
    path: entry.path,
    meta: metadataOf(entry),
    display_name: entry.displayName,
    num_uses: Math.max(0, entry.usesLeft),
    orphan: entry.parent === undefined,
    creation_time: Math.floor(entry.createdAtMs / 1000),
    creation_ttl: entry.ttlSeconds,
    issue_time: new Date(entry.createdAtMs).toISOString(),
    expire_time: entry.expiresAtMs === undefined ? null : new Date(entry.expiresAtMs).toISOString(),
    ttl: remainingSeconds(entry, nowMs),
    explicit_max_ttl: entry.explicitMaxTtlSeconds,
    entity_id: entry.entityId,
    type: entry.type,
    renewable: isRenewable(entry),
    ...(entry.periodSeconds === 0 ? {} : { period: entry.periodSeconds }),
    ...(entry.role === undefined ? {} : { role: entry.role }),
    ...(entry.boundCidrs.length === 0 ? {} : { bound_cidrs: entry.boundCidrs }),
  };
}

/** What the holder of a new or renewed token is told. `secret` is the token. */
export function toAuth(secret: string, entry: TokenEntry, nowMs: number): VaultAuth {
  return {
    client_token: secret,
    accessor: entry.accessor,
    policies: entry.policies,
    token_policies: entry.policies,
    metadata: metadataOf(entry),
    lease_duration: remainingSeconds(entry, nowMs),
    renewable: isRenewable(entry),
    entity_id: entry.entityId,
    token_type: entry.type,
    orphan: entry.parent === undefined,
    mfa_requirement: null,
    num_uses: Math.max(0, entry.usesLeft),
  };
}

/** Whether the token's life can be made longer. */
export function isRenewable(entry: TokenEntry): boolean {
  return entry.type === "service" && entry.renewable && entry.expiresAtMs !== undefined;
}

function metadataOf(entry: TokenEntry): Readonly<Record<string, string>> | null {
  return Object.keys(entry.meta).length === 0 ? null : entry.meta;
}
