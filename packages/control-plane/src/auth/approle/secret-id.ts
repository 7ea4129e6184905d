import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";
import { count, duration, type FieldMeta, list, parseFields, texts } from "../../vault/field-types.js";
import { readCidrs } from "../../vault/token/token-parameters.js";
import { areWithin } from "../bound-networks.js";
import type { ApproleRole } from "./approle-role.js";

const MAX_METADATA_ENTRIES = 64;
const MAX_METADATA_CHARACTERS = 16_384;
/** What Vault says of a time that is not set. */
const NEVER = "0001-01-01T00:00:00Z";

/** Fields of a new secret id. */
export const secretIdFields = z.object({
  /** An object of texts, or JSON text with one. */
  metadata: z
    .unknown()
    .optional()
    .meta({ type: "object" } satisfies FieldMeta),
  cidr_list: list(),
  token_bound_cidrs: list(),
  num_uses: count(),
  ttl: duration(),
});

/** A secret id as it is kept: everything but itself. */
export const secretId = z.object({
  accessor: z.string(),
  createdTime: z.iso.datetime(),
  /** Null: never. */
  expirationTime: z.iso.datetime().nullable(),
  lastUpdatedTime: z.iso.datetime(),
  ttlSeconds: z.int().min(0),
  /** 0: any number. */
  usesLeft: z.int().min(0),
  cidrs: z.array(z.string()).readonly(),
  /** Instead of the role's; empty: the role's. */
  tokenCidrs: z.array(z.string()).readonly(),
  metadata: z.record(z.string(), z.string()),
});
export type SecretId = Readonly<z.infer<typeof secretId>>;

export interface NewSecretId {
  readonly accessor: string;
  readonly nowMs: number;
  /** The mount's longest lifetime. */
  readonly maxTtlSeconds: number;
}

/**
 * What a new secret id of a role is, which is no more than the role allows.
 * @throws {RksError} INPUT_INVALID
 */
export function readSecretId(
  fields: z.output<typeof secretIdFields>,
  role: ApproleRole,
  { accessor, nowMs, maxTtlSeconds }: NewSecretId,
): SecretId {
  const cidrs = readCidrs(fields.cidr_list) ?? [];
  const tokenCidrs = readCidrs(fields.token_bound_cidrs) ?? [];
  if (!areWithin(cidrs, role.secretIdCidrs)) throw beyond("cidr_list", "secret_id_bound_cidrs");
  if (!areWithin(tokenCidrs, role.token.boundCidrs)) throw beyond("token_bound_cidrs", "token_bound_cidrs");
  const uses = fields.num_uses ?? role.secretIdNumUses;
  const wantedTtl = fields.ttl ?? role.secretIdTtlSeconds;
  if (exceeds(uses, role.secretIdNumUses)) throw beyond("num_uses", "secret_id_num_uses");
  if (exceeds(wantedTtl, role.secretIdTtlSeconds)) throw beyond("ttl", "secret_id_ttl");
  const ttlSeconds = Math.min(wantedTtl, maxTtlSeconds);
  const now = new Date(nowMs).toISOString();
  return {
    accessor,
    createdTime: now,
    expirationTime: ttlSeconds === 0 ? null : new Date(nowMs + ttlSeconds * 1000).toISOString(),
    lastUpdatedTime: now,
    ttlSeconds,
    usesLeft: uses,
    cidrs,
    tokenCidrs,
    metadata: readMetadata(fields.metadata),
  };
}

/** Whether its time is over. */
export function isExpired({ expirationTime }: SecretId, nowMs: number): boolean {
  return expirationTime !== null && Date.parse(expirationTime) <= nowMs;
}

/** A secret id in Vault's words; what it is itself nobody knows but its holder. */
export function describeSecretId(secret: SecretId): JsonObject {
  return {
    cidr_list: secret.cidrs,
    creation_time: secret.createdTime,
    expiration_time: secret.expirationTime ?? NEVER,
    last_updated_time: secret.lastUpdatedTime,
    metadata: secret.metadata,
    secret_id_accessor: secret.accessor,
    secret_id_num_uses: secret.usesLeft,
    secret_id_ttl: secret.ttlSeconds,
    token_bound_cidrs: secret.tokenCidrs,
  };
}

/** 0 stands for no bound. */
function exceeds(wanted: number, bound: number): boolean {
  return bound !== 0 && (wanted === 0 || wanted > bound);
}

function readMetadata(given: unknown): Record<string, string> {
  const value = typeof given === "string" && given !== "" ? parseJson(given) : given === "" ? {} : given;
  const { metadata } = parseFields(z.object({ metadata: texts() }), { metadata: value }, "secret id");
  const entries = Object.entries(metadata ?? {});
  const characters = entries.reduce((sum, [name, text]) => sum + name.length + text.length, 0);
  if (entries.length <= MAX_METADATA_ENTRIES && characters <= MAX_METADATA_CHARACTERS) return { ...metadata };
  throw new RksError("INPUT_INVALID", `metadata of ${entries.length} entries is too much`, {
    suggestion: `Give at most ${MAX_METADATA_ENTRIES} entries of ${MAX_METADATA_CHARACTERS} characters in all.`,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text.slice(0, MAX_METADATA_CHARACTERS * 2));
  } catch {
    throw new RksError("INPUT_INVALID", "metadata is no JSON object", {
      suggestion: `Write it like {"team": "web"}.`,
    });
  }
}

function beyond(field: string, bound: string): RksError {
  return new RksError("INPUT_INVALID", `"${field}" asks for more than the role's "${bound}" allows`, {
    suggestion: "Ask for less, or change the role.",
  });
}
