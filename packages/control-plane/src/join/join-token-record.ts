import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";
import { recoveryGrant } from "../nodes/node-recovery.js";

const joinTokenRecord = z.object({
  id: z.string(),
  /** Ed25519, 32 bytes as hexadecimal digits. The private half exists in the token's text only. */
  publicKey: z.string(),
  role: z.enum(["node", "operator"]),
  /** How many joins it is good for; null: any number until it expires. */
  uses: z.number().int().nullable(),
  /** How many joins it was good for so far. */
  usedCount: z.number().int(),
  /** The latest of them. */
  usedBy: z.array(z.object({ node: z.string(), at: z.iso.datetime() })),
  /** The only name it is good for. */
  node: z.string().nullable(),
  /** The only network it is good from. */
  cidr: z.string().nullable(),
  /** Uid of the node that may come back with it under another key. */
  rejoins: z.string().nullable(),
  /** SHA-256 of the root's SubjectPublicKeyInfo that the token's text pins; hexadecimal digits. Older records have none: the first root's. */
  pin: z.string().optional(),
  /** Names of the policies of operators that it lets in; none in what was made before there were any. */
  policies: z.array(z.string()).optional(),
  /** What nodes that join with it get: so many recoveries in so many seconds without a key of their machine. */
  grant: recoveryGrant.optional(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
  revokedAt: z.iso.datetime().nullable(),
});

/** What the control plane keeps of a join token: enough to check it, nothing to make one. */
export type JoinTokenRecord = z.infer<typeof joinTokenRecord>;

/** Where join tokens are, in the barrier. */
export const JOIN_TOKENS_PREFIX = "cluster/join-tokens/";

/** The join tokens and, for some time, what is left of spent ones, by id. */
export function joinTokenRecords(storage: Storage): RecordCollection<JoinTokenRecord> {
  return new RecordCollection(storage, JOIN_TOKENS_PREFIX, joinTokenRecord);
}

/** The policy of operators whose token names none. */
export const OPERATOR_POLICY = "operator";

/** Names of the policies of operators that the token lets in; empty for nodes, which have no policies. */
export function policiesOf({ role, policies }: JoinTokenRecord): readonly string[] {
  return role === "operator" ? (policies ?? [OPERATOR_POLICY]) : [];
}

/** Users of one token that are remembered by name; the rest is only counted. */
const MAX_REMEMBERED_USERS = 100;

/** The record after one more use. */
export function withUse(
  token: JoinTokenRecord,
  use: { readonly node: string; readonly at: string },
): JoinTokenRecord {
  return {
    ...token,
    usedCount: token.usedCount + 1,
    usedBy: [...token.usedBy, { node: use.node, at: use.at }].slice(-MAX_REMEMBERED_USERS),
  };
}

/** Whether every use of the token was made. */
export function isUsedUp(token: JoinTokenRecord): boolean {
  return token.uses !== null && token.usedCount >= token.uses;
}

/** What a token can still do, for people: what was used up stays `used` when its time is over. */
export function joinTokenState(
  token: JoinTokenRecord,
  now: number,
): "usable" | "revoked" | "expired" | "used" {
  if (token.revokedAt !== null) return "revoked";
  if (isUsedUp(token)) return "used";
  return now >= Date.parse(token.expiresAt) ? "expired" : "usable";
}
