import { randomBytes } from "node:crypto";
import { assertNodeName, type Clock, formatJoinToken, hex, RksError, Secret } from "@rk8s/protocol";
import type { RecordCollection, Storage } from "@rk8s/storage";
import type { AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import { MAX_REMEMBERED_RECOVERIES } from "../nodes/node-recovery.js";
import { normalizeCidr } from "../vault/cidr.js";
import { ed25519PublicKey } from "./ed25519-key.js";
import type { Policies } from "../server/authority.js";
import { normalName } from "../vault/policy/policy-store.js";
import {
  isUsedUp,
  type JoinTokenRecord,
  joinTokenRecords,
  joinTokenState,
  OPERATOR_POLICY,
  policiesOf,
} from "./join-token-record.js";

const MIN_TTL_SECONDS = 1;
const MAX_TTL_SECONDS = 86_400;
const DEFAULT_TTL_SECONDS = { node: 600, operator: 28_800 } as const;
/** More nodes than this join with several tokens: each use rewrites the token's record. */
const MAX_USES = 1000;
/** Recoveries are counted in windows of this length; shorter than a minute would be no limit. */
const DEFAULT_WINDOW_SECONDS = 86_400;
const MIN_WINDOW_SECONDS = 60;
const MAX_WINDOW_SECONDS = 30 * 86_400;
/** How long a spent token can still be asked about. */
const TOMBSTONE_MS = 30 * 86_400_000;
const ID_BYTES = 8;
/** Far more than anybody can keep in mind. */
const MAX_POLICIES = 16;
const TOKEN_ID = /^[0-9a-f]{16}$/;
const SEED_BYTES = 32;
/** Times that a revocation tries again when the token is used at the same moment. */
const MAX_ATTEMPTS = 16;

export interface JoinTokenRequest {
  /** Default: 10 minutes, 8 hours for operators. */
  readonly ttlSeconds?: number | undefined;
  /** Default 1. Operator tokens are good for any number of commands and take none. */
  readonly uses?: number | undefined;
  /** The only node name it is good for. */
  readonly node?: string | undefined;
  /** The only network it is good from. */
  readonly cidr?: string | undefined;
  /** Default `node`. */
  readonly role?: "node" | "operator" | undefined;
  /** What operators may; names of policies of the vault. Default: `operator`. Nodes take none. */
  readonly policies?: readonly string[] | undefined;
  /** Recoveries without a key of the machine that each node gets; default 0. */
  readonly recoveries?: number | undefined;
  /** In how many seconds it gets so many; default 24 hours. */
  readonly recoveryWindowSeconds?: number | undefined;
}

/** A new token: the one moment at which its text exists on the server. */
export interface CreatedJoinToken {
  readonly token: Secret<string>;
  readonly id: string;
  readonly expiresAt: string;
  /** Null: any number. */
  readonly uses: number | null;
  readonly node: string | null;
  readonly cidr: string | null;
  readonly role: "node" | "operator";
  /** Of operators; nodes have none. */
  readonly policies: readonly string[];
}

/** What may be shown of a token. */
export interface JoinTokenSummary {
  readonly id: string;
  readonly role: "node" | "operator";
  readonly status: "usable" | "revoked" | "expired" | "used";
  readonly uses: number | null;
  readonly usedCount: number;
  readonly usedBy: readonly { readonly node: string; readonly at: string }[];
  readonly node: string | null;
  readonly cidr: string | null;
  readonly policies: readonly string[];
  /** Made by `rks node rejoin`. */
  readonly rejoin: boolean;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly revokedAt: string | null;
}

export interface JoinTokenStorePorts {
  readonly barrier: Storage;
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** SHA-256 of the root's SubjectPublicKeyInfo: what a token pins. */
  readonly rootSpkiSha256: () => Uint8Array | Promise<Uint8Array>;
  /** The vault's policies, of which those that a token names must be. */
  readonly policies: Pick<Policies, "read">;
  /** Called when a revocation is on disk. */
  readonly onRevoked?: (id: string) => void;
  readonly random?: (bytes: number) => Uint8Array;
}

/** Who asks, for the audit log. */
export interface ActorOption {
  readonly actor: string;
}

/** Makes, lists, revokes and forgets join tokens. */
export class JoinTokenStore {
  readonly #ports: JoinTokenStorePorts;
  readonly #records: RecordCollection<JoinTokenRecord>;

  constructor(ports: JoinTokenStorePorts) {
    this.#ports = ports;
    this.#records = joinTokenRecords(ports.barrier);
  }

  /**
   * Make a token. Its key pair is made here; the private half leaves in the answer and is not kept.
   * @throws {RksError} INPUT_INVALID for a time, a number of uses, a network or policies out of bounds, NOT_FOUND for a
   * policy that there is not, NODE_NAME_INVALID, AUDIT_UNWRITABLE, and as the storage does.
   */
  async create(request: JoinTokenRequest, options: ActorOption): Promise<CreatedJoinToken> {
    const parsed = parseRequest(request);
    // The default one is there from the beginning; whoever deletes it takes it from all.
    if (request.policies !== undefined) await this.#assertPolicies(parsed.policies ?? []);
    return this.#create(parsed, null, options);
  }

  /**
   * Make a token with which the node of this name and uid comes back under a new key.
   * @throws {RksError} as `create`.
   */
  async createRejoin(
    node: { readonly name: string; readonly uid: string },
    options: ActorOption,
  ): Promise<CreatedJoinToken> {
    return this.#create(parseRequest({ node: node.name }), node.uid, options);
  }

  /** Every token that is usable, or was until 30 days ago. Without secrets; there are none to show. */
  async list(): Promise<JoinTokenSummary[]> {
    const summaries: JoinTokenSummary[] = [];
    for await (const { record } of this.#records.list()) summaries.push(this.#summary(record));
    return summaries.toSorted((a, b) => a.createdAt.localeCompare(b.createdAt));
  }

  /**
   * Refuse the token from now on. Nodes that joined with it stay; connections of an operator token are ended.
   * Revoking twice is fine.
   * @throws {RksError} NOT_FOUND, AUDIT_UNWRITABLE, CONFLICT when the token is used again and again meanwhile.
   */
  async revoke(id: string, options: ActorOption): Promise<JoinTokenSummary> {
    if (!TOKEN_ID.test(id) || (await this.#records.read(id)) === undefined) throw unknownToken(id);
    const event = { operation: "join-token.revoke", actor: options.actor, fields: { tokenId: id } };
    const revoked = await audited(this.#ports.audit, event, async () => ({ value: await this.#revoke(id) }));
    this.#ports.onRevoked?.(id);
    return this.#summary(revoked);
  }

  /** Forget what was spent more than 30 days ago. Returns how many. */
  async tidy(): Promise<number> {
    const now = this.#ports.clock.now();
    let count = 0;
    for await (const stored of this.#records.list()) {
      if (now < spentAt(stored.record) + TOMBSTONE_MS) continue;
      const { id } = stored.record;
      const comparisons = [this.#records.unchanged(id, stored)];
      const { succeeded } = await this.#ports.barrier.transaction(comparisons, [this.#records.delete(id)]);
      if (succeeded) count += 1;
    }
    return count;
  }

  async #create(
    request: ParsedRequest,
    rejoins: string | null,
    options: ActorOption,
  ): Promise<CreatedJoinToken> {
    const random = this.#ports.random ?? randomBytes;
    const rootSpkiSha256 = await this.#ports.rootSpkiSha256();
    const id = hex(random(ID_BYTES));
    const seed = Uint8Array.from(random(SEED_BYTES));
    try {
      const { ttlSeconds, grant, ...scope } = request;
      const now = this.#ports.clock.now();
      const record: JoinTokenRecord = {
        id,
        publicKey: hex(ed25519PublicKey(seed)),
        ...scope,
        ...(grant === undefined ? {} : { grant }),
        usedCount: 0,
        usedBy: [],
        rejoins,
        pin: hex(rootSpkiSha256),
        createdAt: new Date(now).toISOString(),
        expiresAt: new Date(now + ttlSeconds * 1000).toISOString(),
        revokedAt: null,
      };
      const fields = {
        tokenId: id,
        ...scope,
        ...grant,
        rejoin: rejoins !== null,
        expiresAt: record.expiresAt,
      };
      const event = { operation: "join-token.create", actor: options.actor, fields };
      await audited(this.#ports.audit, event, async () => ({ value: await this.#add(record) }));
      const token = new Secret(formatJoinToken({ id, seed: new Secret(seed), rootSpkiSha256 }));
      return { token, id, expiresAt: record.expiresAt, ...scope, policies: policiesOf(record) };
    } finally {
      seed.fill(0);
    }
  }

  async #add(record: JoinTokenRecord): Promise<void> {
    const { succeeded } = await this.#ports.barrier.transaction(
      [this.#records.unchanged(record.id, undefined)],
      [this.#records.put(record.id, record)],
    );
    if (!succeeded)
      throw new RksError("CONFLICT", "two join tokens have the same id", { suggestion: "Try again." });
  }

  async #revoke(id: string): Promise<JoinTokenRecord> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const stored = await this.#records.read(id);
      if (stored === undefined) throw unknownToken(id);
      if (stored.record.revokedAt !== null) return stored.record;
      const revoked = { ...stored.record, revokedAt: new Date(this.#ports.clock.now()).toISOString() };
      const { succeeded } = await this.#ports.barrier.transaction(
        [this.#records.unchanged(id, stored)],
        [this.#records.put(id, revoked)],
      );
      if (succeeded) return revoked;
    }
    throw new RksError("CONFLICT", `join token "${id}" is in use at this moment`, {
      suggestion: "Try again.",
    });
  }

  #summary(record: JoinTokenRecord): JoinTokenSummary {
    const { publicKey: _publicKey, pin: _pin, rejoins, ...shown } = record;
    return {
      ...shown,
      policies: policiesOf(record),
      status: joinTokenState(record, this.#ports.clock.now()),
      rejoin: rejoins !== null,
    };
  }

  /** A misspelled name would allow nothing, and be found out late. `root` is nobody's over a network. */
  async #assertPolicies(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (name === "root") {
        throw invalid(
          'an operator token cannot have the policy "root"',
          'Leave --policy out for "operator".',
        );
      }
      if ((await this.#ports.policies.read(name)) !== undefined) continue;
      throw new RksError("NOT_FOUND", `there is no policy "${name}"`, {
        suggestion: `Write it first: \`rks policy write ${name} FILE\`.`,
      });
    }
  }
}

type ParsedRequest = Pick<JoinTokenRecord, "uses" | "node" | "cidr" | "role" | "policies" | "grant"> & {
  readonly ttlSeconds: number;
};

function parseRequest(request: JoinTokenRequest): ParsedRequest {
  const role = request.role ?? "node";
  const ttlSeconds = request.ttlSeconds ?? DEFAULT_TTL_SECONDS[role];
  if (!(ttlSeconds >= MIN_TTL_SECONDS && ttlSeconds <= MAX_TTL_SECONDS)) {
    throw invalid(`a join token cannot live for "${ttlSeconds}" s`, "Choose a time from 1s to 24h.");
  }
  const cidr = request.cidr === undefined ? null : normalizeCidr(request.cidr);
  if (role === "operator") {
    if (request.uses !== undefined || request.node !== undefined || request.recoveries !== undefined) {
      throw invalid(
        "an operator token has neither a number of uses nor a node nor recoveries",
        "Leave --uses, --node and --recoveries out: an operator token is good until it expires.",
      );
    }
    return { role, ttlSeconds, uses: null, node: null, cidr, policies: policyNames(request.policies) };
  }
  if (request.policies !== undefined) {
    throw invalid("a node's token has no policies", "Leave --policy out, or ask for --role operator.");
  }
  const uses = request.uses ?? 1;
  if (!Number.isInteger(uses) || uses < 1 || uses > MAX_USES) {
    throw invalid(`a join token cannot have "${uses}" uses`, `Choose a whole number from 1 to ${MAX_USES}.`);
  }
  if (request.node !== undefined) assertNodeName(request.node);
  return { role, ttlSeconds, uses, node: request.node ?? null, cidr, ...parseGrant(request) };
}

function parseGrant({ recoveries, recoveryWindowSeconds }: JoinTokenRequest): Pick<ParsedRequest, "grant"> {
  const windowSeconds = recoveryWindowSeconds ?? DEFAULT_WINDOW_SECONDS;
  if (recoveries === undefined || recoveries === 0) {
    if (recoveryWindowSeconds === undefined) return {};
    throw invalid("a recovery window without recoveries means nothing", "Add --recoveries N.");
  }
  if (!Number.isInteger(recoveries) || recoveries < 0 || recoveries > MAX_REMEMBERED_RECOVERIES) {
    throw invalid(
      `a node cannot get "${recoveries}" recoveries`,
      `Choose a whole number from 0 to ${MAX_REMEMBERED_RECOVERIES}.`,
    );
  }
  if (!(windowSeconds >= MIN_WINDOW_SECONDS && windowSeconds <= MAX_WINDOW_SECONDS)) {
    throw invalid(`recoveries cannot be counted in "${windowSeconds}" s`, "Choose a time from 1m to 30d.");
  }
  return { grant: { recoveries, windowSeconds } };
}

function policyNames(names: readonly string[] = [OPERATOR_POLICY]): string[] {
  if (names.length >= 1 && names.length <= MAX_POLICIES) return [...new Set(names.map(normalName))];
  throw invalid(`an operator token cannot have ${names.length} policies`, `Name 1 to ${MAX_POLICIES}.`);
}

/** When the token could be used for the last time. */
function spentAt(token: JoinTokenRecord): number {
  const lastUse = token.usedBy.at(-1);
  return Math.min(
    Date.parse(token.expiresAt),
    ...(token.revokedAt === null ? [] : [Date.parse(token.revokedAt)]),
    ...(isUsedUp(token) && lastUse !== undefined ? [Date.parse(lastUse.at)] : []),
  );
}

function invalid(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}

function unknownToken(id: string): RksError {
  return new RksError("NOT_FOUND", `there is no join token "${id.slice(0, 64)}"`, {
    suggestion: "List the tokens with `rks join-token list`.",
  });
}
