import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import { RESPONSE_WRAPPING } from "../policy/builtin-policies.js";

/** The one policy that allows everything. */
export const ROOT_POLICY = "root";
/** `usesLeft` of a token that may be used as often as its holder likes. */
export const UNLIMITED_USES = 0;
/** `usesLeft` of a token whose last use is taken or that is being revoked; it is on its way out. */
export const SPENT = -1;

const tokenEntry = z.object({
  version: z.literal(1),
  type: z.enum(["service", "batch"]).default("service"),
  /** Empty for batch tokens. */
  accessor: z.string(),
  policies: z.array(z.string()).readonly(),
  /** Hash of the token that made this one; none for root tokens of an initialisation and for orphans. */
  parent: z.string().optional(),
  /** Generations below the first ancestor. */
  depth: z.int().min(0),
  displayName: z.string(),
  meta: z.record(z.string(), z.string()).readonly(),
  /** What made the token: `auth/token/create`, `auth/approle/login`. */
  path: z.string(),
  createdAtMs: z.int(),
  ttlSeconds: z.int().min(0),
  explicitMaxTtlSeconds: z.int().min(0),
  /** Each renewal gives this much, for ever. 0: none. */
  periodSeconds: z.int().min(0).default(0),
  /** None: never. */
  expiresAtMs: z.int().optional(),
  renewable: z.boolean(),
  usesLeft: z.int().min(SPENT),
  /** The networks that the token may be used from; none: everywhere. */
  boundCidrs: z.array(z.string()).readonly().default([]),
  /** Who it belongs to; empty: nobody that is known. */
  entityId: z.string().default(""),
  /** The role of `auth/token/roles` that it was made with. */
  role: z.string().optional(),
  /** Set for the tokens of logins. */
  login: z
    .object({
      /** Of the mount that let it in. */
      mountAccessor: z.string(),
      /** Seconds from the creation; 0: the mount's. */
      maxTtlSeconds: z.int().min(0),
      /** What the mount wants to see when the token is renewed. */
      renewal: z.record(z.string(), z.unknown()).readonly().optional(),
    })
    .readonly()
    .optional(),
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

function isExpired(entry: TokenEntry, nowMs: number): boolean {
  return entry.expiresAtMs !== undefined && entry.expiresAtMs <= nowMs;
}

/** Whether a token can be used at a time, its ancestors left aside. */
export function isUsable(entry: TokenEntry, nowMs: number): boolean {
  return entry.usesLeft !== SPENT && !isExpired(entry, nowMs);
}

export function isRoot(entry: TokenEntry): boolean {
  return entry.policies.includes(ROOT_POLICY);
}

/** Whether the token holds a wrapped answer. */
export function isWrapping(entry: TokenEntry): boolean {
  return entry.policies.length === 1 && entry.policies[0] === RESPONSE_WRAPPING;
}

/** Seconds until the token expires; 0 when it never does. */
export function remainingSeconds(entry: TokenEntry, nowMs: number): number {
  return entry.expiresAtMs === undefined ? 0 : Math.max(0, Math.ceil((entry.expiresAtMs - nowMs) / 1000));
}
