import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../backend.js";

/** The one policy that allows everything. */
export const ROOT_POLICY = "root";
/** `usesLeft` of a token that may be used as often as its holder likes. */
export const UNLIMITED_USES = 0;
/** `usesLeft` of a token whose last use is taken; it is on its way out. */
export const SPENT = -1;

const tokenEntry = z.object({
  version: z.literal(1),
  accessor: z.string(),
  policies: z.array(z.string()),
  /** Hash of the token that made this one; none for root tokens of an initialisation and for orphans. */
  parent: z.string().optional(),
  /** Generations below the first ancestor. */
  depth: z.int().min(0),
  displayName: z.string(),
  meta: z.record(z.string(), z.string()),
  path: z.string(),
  createdAtMs: z.int(),
  ttlSeconds: z.int().min(0),
  explicitMaxTtlSeconds: z.int().min(0),
  /** None: never. */
  expiresAtMs: z.int().optional(),
  renewable: z.boolean(),
  usesLeft: z.int().min(SPENT),
});

/** What the vault knows of a token; the token itself is not in it. */
export type TokenEntry = Readonly<z.infer<typeof tokenEntry>>;

export function encodeTokenEntry(entry: TokenEntry): Uint8Array {
  return Buffer.from(JSON.stringify(entry));
}

/** @throws {RksError} STORAGE_CORRUPT */
export function decodeTokenEntry(bytes: Uint8Array): TokenEntry {
  try {
    return tokenEntry.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", "a token entry has a form that is not known", {
      suggestion: "Use the version of rks that wrote the data folder.",
      cause,
    });
  }
}

export function isExpired(entry: TokenEntry, nowMs: number): boolean {
  return entry.expiresAtMs !== undefined && entry.expiresAtMs <= nowMs;
}

export function isRoot(entry: TokenEntry): boolean {
  return entry.policies.includes(ROOT_POLICY);
}

/** Seconds until the token expires; 0 when it never does. */
export function remainingSeconds(entry: TokenEntry, nowMs: number): number {
  return entry.expiresAtMs === undefined ? 0 : Math.max(0, Math.ceil((entry.expiresAtMs - nowMs) / 1000));
}

/** The data of a lookup. `id` is the token, or empty where the asker does not hold it. */
export function describeToken(entry: TokenEntry, id: string, nowMs: number): JsonObject {
  const issued = new Date(entry.createdAtMs).toISOString();
  return {
    id,
    accessor: entry.accessor,
    policies: entry.policies,
    path: entry.path,
    meta: Object.keys(entry.meta).length === 0 ? null : entry.meta,
    display_name: entry.displayName,
    num_uses: Math.max(0, entry.usesLeft),
    orphan: entry.parent === undefined,
    creation_time: Math.floor(entry.createdAtMs / 1000),
    creation_ttl: entry.ttlSeconds,
    issue_time: issued,
    expire_time: entry.expiresAtMs === undefined ? null : new Date(entry.expiresAtMs).toISOString(),
    ttl: remainingSeconds(entry, nowMs),
    explicit_max_ttl: entry.explicitMaxTtlSeconds,
    entity_id: "",
    type: "service",
    renewable: entry.renewable,
  };
}
