import type { Secret } from "@rk8s/protocol";
import type { Comparison, Storage, Write } from "@rk8s/storage";

import type { Stewardship } from "./members/stewardship.js";
import type { PathTable } from "./path-table.js";
import type { PolicyIdentity } from "./policy/policy.js";
import type { VaultAuth, VaultWrapInfo } from "./request.js";
import type { LiveToken } from "./token/token-store.js";

/**
 * What a caller asks of a path, in Vault's words. `create` and `update` are told apart by the path's `exists`; `scan`
 * is a list of everything below; `help` is answered from the path's description.
 */
export type Operation = "read" | "create" | "update" | "patch" | "delete" | "list" | "scan" | "help";

/** Decoded JSON, as it comes from a request body or goes into an answer. */
export type JsonObject = { readonly [name: string]: unknown };

/** Whoever's token was accepted for the request. */
export interface Caller {
  readonly token: LiveToken;
  /** As it was given. */
  readonly secret: Secret<string>;
  /** Whether the policies grant `sudo` on the requested path. */
  readonly hasSudo: boolean;
  /** The entity that the token belongs to, for templates; undefined: none. */
  readonly identity?: PolicyIdentity | undefined;
}

/** Where a request came from, for login methods and bound addresses. A request of this process comes from nowhere. */
export interface Connection {
  readonly remoteAddress?: string;
  /** What a TLS client presented, DER, leaf first. Nobody has verified it: that is the login method's work. */
  readonly clientCertificates?: readonly Uint8Array[];
}

/** A request as a path's handler sees it: authenticated, authorised, its fields read. */
export interface PathRequest<Fields = JsonObject> {
  readonly operation: Exclude<Operation, "help">;
  /** Relative to the mount, no leading or trailing slash: `roles/web`. */
  readonly path: string;
  /** What stands in the place of the pattern's parameters. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Fields read by the operation's schema, defaults filled in. */
  readonly fields: Fields;
  /** Fields as they were sent, for handlers that must know which ones were. */
  readonly data: JsonObject;
  /** Undefined on operations that are for anyone. */
  readonly caller: Caller | undefined;
  readonly connection: Connection;
  /** How long the answer is to be kept wrapped; 0 or nothing: it is not to be wrapped. */
  readonly wrapTtlSeconds?: number;
}

/** A document that is not JSON, for HTTP; other callers find the same in `data`. */
export interface RawAnswer {
  readonly contentType: string;
  /** Empty stands for 204. */
  readonly body: string | Uint8Array;
  /** Milliseconds; makes conditional requests possible. */
  readonly lastModifiedMs?: number;
}

/** What a login method found out about whoever logs in; the vault makes the token. Seconds; 0 or nothing: the mount's. */
export interface LoginGrant {
  readonly displayName: string;
  readonly policies: readonly string[];
  readonly noDefaultPolicy?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
  /** The name that this caller always has on this mount; ties its logins to one entity. */
  readonly aliasName?: string;
  readonly ttlSeconds?: number;
  readonly maxTtlSeconds?: number;
  readonly explicitMaxTtlSeconds?: number;
  readonly periodSeconds?: number;
  /** 0: unlimited. */
  readonly numUses?: number;
  /** None: what the mount's is. */
  readonly tokenType?: "service" | "batch";
  /** Addresses in CIDR notation that the token may be used from; empty: any. */
  readonly boundCidrs?: readonly string[];
  /** Handed to `Backend.renewLogin` when the token is to be renewed. No secrets. */
  readonly renewal?: JsonObject;
  /**
   * What the login uses up, in one transaction with the token that it gives: no token without it, nothing used up without
   * a token. Asked again when somebody else was faster; what it throws ends the login.
   */
  readonly commit?: () => Promise<Commit>;
}

/** What is written together with something else or not at all, and what must still be so then. */
export interface Commit {
  readonly comparisons: readonly Comparison[];
  readonly writes: readonly Write[];
}

/** What a dynamic secret needs to be renewed and revoked later. */
export interface LeaseGrant {
  /** Seconds. */
  readonly ttlSeconds: number;
  readonly maxTtlSeconds: number;
  readonly renewable: boolean;
  /** Handed to `Backend.revokeLease`. No secrets. */
  readonly internal: JsonObject;
}

/** What a handler answers. Nothing at all means 204 on writes and deletes and 404 on reads and lists. */
export interface Answer {
  readonly data?: JsonObject;
  readonly warnings?: readonly string[];
  /** What became of a token; engines give a `login` instead. */
  readonly auth?: VaultAuth;
  /** Instead of data: log the caller in. */
  readonly login?: LoginGrant;
  /** Beside data: keep a lease for it. */
  readonly lease?: LeaseGrant;
  /** Of a lease that is kept already; engines give a `lease` instead. Seconds. */
  readonly leased?: { readonly id: string; readonly ttlSeconds: number; readonly renewable: boolean };
  /** Instead of all else: the answer is kept already, under this token. Not for engines. */
  readonly wrapInfo?: VaultWrapInfo;
  readonly raw?: RawAnswer;
  /**
   * How `data` is put into JSON: in Vault's envelope (the default), in the envelope with its members repeated beside
   * it (older clients read either), or alone.
   */
  readonly form?: "envelope" | "repeated" | "bare";
  /** HTTP status instead of 200. */
  readonly status?: number;
}

/**
 * A secrets engine or a login method mounted at a path. One instance per mount; made when the vault is unsealed,
 * disposed when it is sealed. It keeps its state under `storagePrefix` of the barrier and nowhere else.
 */
export interface Backend extends AsyncDisposable {
  /** Everything that the engine serves, and who may call it. */
  readonly paths: PathTable;
  /** Decide whether a login may go on, with what its grant said then. @throws {RksError} when it may not. */
  renewLogin?(renewal: JsonObject): Promise<void>;
  /**
   * Another process has written or deleted an entry of the mount, `name` without the mount's prefix: forget what was kept of it.
   * "outdated": make this backend anew. Left out: nothing is kept in memory.
   */
  heard?(name: string): "forgotten" | "outdated";
  /** Undo what a lease stands for. Called again when it fails, so it must be possible twice. */
  revokeLease?(internal: JsonObject): Promise<void>;
}

export interface MountInit {
  /** With trailing slash: `pki/`, `auth/approle/`. */
  readonly path: string;
  readonly type: string;
  /** Names the mount for good, also when it is moved: `pki_4f21a9c0`. */
  readonly accessor: string;
  /** Where the mount's keys live in the barrier, with trailing slash: `logical/<uuid>/`. */
  readonly storagePrefix: string;
  /** What the mount was made with besides: `{ version: "2" }`. */
  readonly options: Readonly<Record<string, string>>;
  /** Seconds; what leases, tokens and certificates of the mount are bounded by. */
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
}

/**
 * How the vault makes the backend of a mount type, for example `pki`. The barrier is unsealed at that moment. What the backend
 * does by itself in the background it does while the process has the stewardship; default: always.
 */
export type BackendFactory = (
  mount: MountInit,
  barrier: Storage,
  stewardship?: Stewardship,
) => Promise<Backend>;
