import { createHmac, hkdfSync, randomBytes } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Clock } from "@rk8s/protocol";
import type { Comparison, Storage, Write } from "@rk8s/storage";

import type { Commit } from "../backend.js";
import { type Due, type DuePage, type Expiring, readDue } from "../lease/expiry-index.js";
import type { Changes } from "../members/changes.js";
import { BATCH_PREFIX, openBatchToken, sealBatchToken } from "./batch-token.js";
import { OPERATOR_TOKEN } from "./operator-token.js";
import { parentGone, tokenExists, tooBusy } from "./token-errors.js";
import { comparisonOf, MAX_CONFLICTS, StoredTokens } from "./stored-tokens.js";
import { encodeTokenEntry, isUsable, SPENT, type TokenEntry, UNLIMITED_USES } from "./token-entry.js";
import {
  ACCESSOR_PREFIX,
  AT_ONCE_MS,
  expiryWrites,
  TOKEN_EXPIRY_PREFIX,
  TOKEN_PREFIX,
  tokenIndex,
} from "./token-keys.js";
import { TokenRevocation } from "./token-revocation.js";

const SALT_KEY = "token/salt";
const SALT_BYTES = 32;
const TOKEN_BYTES = 32;
const ACCESSOR_BYTES = 18;
/** No service token or accessor is longer; longer ones are not even hashed. */
const MAX_TOKEN_CHARACTERS = 256;
/** How deep tokens may descend from one another; each authentication looks at every ancestor. */
const MAX_TOKEN_DEPTH = 16;
const NOTHING_BESIDES: Commit = { comparisons: [], writes: [] };

/** A token that may be used, as it was found. */
export interface LiveToken {
  /** Names the token in the store; empty for who holds none. */
  readonly hash: string;
  readonly entry: TokenEntry;
}

/** The entry without what the store decides itself. */
export type NewToken = Omit<TokenEntry, "version" | "accessor" | "parent" | "depth" | "createdAtMs">;

export interface TokenOptions {
  /** The token itself, chosen by the caller. */
  readonly id?: string;
  /** What is to be written in the same transaction, for the token with this hash. Not for batch tokens. */
  readonly besides?: (hash: string) => readonly Write[];
  /** What is to happen in the same transaction; asked again when somebody else was faster. */
  readonly commit?: (() => Promise<Commit>) | undefined;
}

export interface MadeToken extends LiveToken {
  /** Shown to its holder and kept nowhere. */
  readonly token: string;
}

export interface TokenStorePorts {
  readonly clock: Pick<Clock, "now">;
  /** End what hangs on a token that is being removed. Called again when it failed, so it must be possible twice. */
  readonly cleanUp?: (hash: string) => Promise<void>;
  /** Told when a token is to be removed at a time. */
  readonly onExpiry?: (expiresAtMs: number) => void;
}

/**
 * Tokens in the barrier. Of a token only a salted hash is kept, and looked up by it, so no comparison tells how much of
 * a guess was right. A token is alive when its entry and those of all its ancestors exist, have not expired and are not
 * spent; revoking one therefore takes effect on its whole line at once. Batch tokens are kept nowhere: they are their
 * own entry, and alive as long as their parent.
 */
export class TokenStore implements Expiring {
  readonly #storage: Storage;
  readonly #ports: TokenStorePorts;
  readonly #salt: Uint8Array;
  readonly #batchSecret: Uint8Array;
  readonly #entries: StoredTokens;
  readonly #revocation: TokenRevocation;

  private constructor(storage: Storage, salt: Uint8Array, ports: TokenStorePorts) {
    this.#storage = storage;
    this.#entries = new StoredTokens(storage);
    this.#salt = salt;
    this.#batchSecret = new Uint8Array(hkdfSync("sha256", salt, "", "rk8s batch tokens", SALT_BYTES));
    this.#ports = ports;
    this.#revocation = new TokenRevocation({
      storage,
      entries: this.#entries,
      hash: (text) => this.#hash(text),
      cleanUp: async (hash) => ports.cleanUp?.(hash),
    });
  }

  /** @throws {RksError} STORAGE_CORRUPT when the salt is missing. */
  static async open(storage: Storage, ports: TokenStorePorts): Promise<TokenStore> {
    const salt = await storage.get(SALT_KEY);
    if (salt === undefined) {
      throw new RksError("STORAGE_CORRUPT", "the salt of the tokens is missing", {
        suggestion: "Restore the data folder from the newest backup.",
      });
    }
    return new TokenStore(storage, salt.value, ports);
  }

  /** The writes that make a new store with one token in it, and that token. */
  static initial(
    storage: Storage,
    token: NewToken,
    clock: Pick<Clock, "now">,
  ): { readonly token: string; readonly writes: readonly Write[] } {
    const salt = randomBytes(SALT_BYTES);
    const store = new TokenStore(storage, salt, { clock });
    const made = store.#make(token, undefined, {});
    return { token: made.token, writes: [{ type: "put", key: SALT_KEY, value: salt }, ...made.writes] };
  }

  /** Follow what other processes write. */
  follow(changes: Changes): void {
    changes.on(TOKEN_PREFIX, (key) => this.#entries.forget(key.slice(TOKEN_PREFIX.length)));
    changes.onGap(() => this.#entries.forget());
  }

  /**
   * Make a token below `parent`, or an orphan; the operator's are orphans.
   * @throws {RksError} INPUT_INVALID when the line of ancestors is too long or the chosen token exists; PERMISSION_DENIED
   *   when the parent is not alive any more; BUSY when others are faster again and again; whatever `commit` throws.
   */
  async create(
    token: NewToken,
    parent: LiveToken | undefined,
    options: TokenOptions = {},
  ): Promise<MadeToken> {
    const above = parent === OPERATOR_TOKEN ? undefined : parent;
    if (token.type === "batch") return this.#createBatch(token, above, options);
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = above === undefined ? undefined : await this.#entries.read(above.hash);
      if (above !== undefined && (stored === undefined || stored.entry.usesLeft === SPENT)) {
        throw parentGone();
      }
      const made = this.#make(token, above, options);
      const { comparisons, writes } = (await options.commit?.()) ?? NOTHING_BESIDES;
      const absent = { key: TOKEN_PREFIX + made.hash, modRevision: 0 };
      const present = stored === undefined ? [] : [comparisonOf(stored)];
      const { succeeded } = await this.#entries.write(
        made.hash,
        [absent, ...present, ...comparisons],
        [...made.writes, ...writes],
      );
      if (succeeded) {
        if (made.entry.expiresAtMs !== undefined) this.#ports.onExpiry?.(made.entry.expiresAtMs);
        return made;
      }
      if ((await this.#entries.read(made.hash)) !== undefined) throw tokenExists();
    }
    throw tooBusy();
  }

  /** Look a token up without using it; undefined when it is not alive. */
  async find(token: string): Promise<LiveToken | undefined> {
    if (token.startsWith(BATCH_PREFIX)) return this.#findBatch(token);
    if (token.length > MAX_TOKEN_CHARACTERS || token === "") return undefined;
    return this.findHash(this.#hash(token));
  }

  async findByAccessor(accessor: string): Promise<LiveToken | undefined> {
    if (accessor.length > MAX_TOKEN_CHARACTERS || accessor === "") return undefined;
    const index = await this.#storage.get(ACCESSOR_PREFIX + this.#hash(accessor));
    return index === undefined ? undefined : this.findHash(Buffer.from(index.value).toString());
  }

  /** The token when it and its ancestors are alive. */
  async findHash(hash: string): Promise<LiveToken | undefined> {
    const entry = await this.#findLine(hash);
    return entry === undefined ? undefined : { hash, entry };
  }

  /**
   * Take one use of a token, for one request. Of two requests with the last use exactly one gets it; the caller
   * revokes a token that comes back `SPENT` when the request is over.
   */
  async use(token: string): Promise<LiveToken | undefined> {
    const found = await this.find(token);
    if (found === undefined || found.entry.usesLeft === UNLIMITED_USES) return found;
    return this.#update(found.hash, (entry) => ({
      ...entry,
      usesLeft: entry.usesLeft === 1 ? SPENT : entry.usesLeft - 1,
    }));
  }

  /** Set when a token expires, in place of when it did; undefined when it is not alive any more. */
  async setExpiry(hash: string, expiry: (entry: TokenEntry) => number): Promise<LiveToken | undefined> {
    const found = await this.#update(hash, (entry) => ({ ...entry, expiresAtMs: expiry(entry) }));
    if (found?.entry.expiresAtMs !== undefined) this.#ports.onExpiry?.(found.entry.expiresAtMs);
    return found;
  }

  /**
   * What a transaction compares so that it succeeds only while the token is there as it is now; undefined when it is
   * not alive or on its way out.
   */
  async hold(hash: string): Promise<Comparison | undefined> {
    const stored = await this.#entries.read(hash);
    if (stored === undefined || !isUsable(stored.entry, this.#ports.clock.now())) return undefined;
    return comparisonOf(stored);
  }

  /**
   * Revoke a token and all that descend from it. Nothing of the line is alive once the first write is done; what a
   * crash leaves is found when it is due.
   */
  revoke(hash: string): Promise<void> {
    return this.#revocation.revoke(hash);
  }

  /** Revoke a token and make its children orphans. */
  revokeOrphaning(hash: string): Promise<void> {
    return this.#revocation.revokeOrphaning(hash);
  }

  /** Whether a token is alive as far as its own entry says, whatever became of its ancestors. */
  isUsable({ entry }: LiveToken): boolean {
    return isUsable(entry, this.#ports.clock.now());
  }

  /** Tokens whose time is over. */
  due(after: string | undefined): Promise<DuePage> {
    return readDue(this.#storage, TOKEN_EXPIRY_PREFIX, { nowMs: this.#ports.clock.now(), after });
  }

  /** Revoke a token whose time is over. */
  async expire({ key, dueAtMs, id }: Due): Promise<void> {
    const stored = await this.#entries.read(id);
    // What was renewed meanwhile stands elsewhere in the index.
    if (stored?.entry.expiresAtMs === dueAtMs) return this.revoke(id);
    await this.#storage.transaction([], [{ type: "delete", key }]);
  }

  #make(
    token: NewToken,
    parent: LiveToken | undefined,
    { id, besides }: TokenOptions,
  ): MadeToken & { readonly writes: readonly Write[] } {
    const secret = id ?? `hvs.${randomBytes(TOKEN_BYTES).toString("base64url")}`;
    const accessor = randomBytes(ACCESSOR_BYTES).toString("base64url");
    const hash = this.#hash(secret);
    const entry = this.#entry(token, parent, accessor);
    const writes: Write[] = [
      { type: "put", key: TOKEN_PREFIX + hash, value: encodeTokenEntry(entry) },
      ...tokenIndex(entry, hash, this.#hash(accessor)),
      ...expiryWrites(hash, undefined, entry.expiresAtMs),
      ...(besides?.(hash) ?? []),
    ];
    return { token: secret, hash, entry, writes };
  }

  /** Nothing is kept of the token; what is to happen with it is all that is written. */
  async #createBatch(
    token: NewToken,
    parent: LiveToken | undefined,
    { commit }: TokenOptions,
  ): Promise<MadeToken> {
    const entry = this.#entry(token, parent, "");
    const secret = sealBatchToken(this.#batchSecret, entry);
    const made = { token: secret, hash: this.#hash(secret), entry };
    if (commit === undefined) return made;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const { comparisons, writes } = await commit();
      if ((await this.#storage.transaction(comparisons, writes)).succeeded) return made;
    }
    throw tooBusy();
  }

  #entry(token: NewToken, parent: LiveToken | undefined, accessor: string): TokenEntry {
    const depth = parent === undefined ? 0 : parent.entry.depth + 1;
    if (depth > MAX_TOKEN_DEPTH) {
      throw new RksError("INPUT_INVALID", `a token has at most ${MAX_TOKEN_DEPTH} ancestors`, {
        suggestion: "Make the token with one of its ancestors, or as an orphan.",
      });
    }
    return {
      version: 1,
      ...token,
      accessor,
      depth,
      createdAtMs: this.#ports.clock.now(),
      ...(parent === undefined ? {} : { parent: parent.hash }),
    };
  }

  async #findBatch(token: string): Promise<LiveToken | undefined> {
    const entry = openBatchToken(this.#batchSecret, token);
    if (entry === undefined || !isUsable(entry, this.#ports.clock.now())) return undefined;
    if (entry.parent !== undefined && (await this.#findLine(entry.parent)) === undefined) return undefined;
    return { hash: this.#hash(token), entry };
  }

  async #findLine(hash: string): Promise<TokenEntry | undefined> {
    const now = this.#ports.clock.now();
    let found: TokenEntry | undefined;
    let next: string | undefined = hash;
    for (let depth = 0; next !== undefined && depth <= MAX_TOKEN_DEPTH; depth += 1) {
      const stored = await this.#entries.read(next);
      if (stored === undefined || !isUsable(stored.entry, now)) return undefined;
      found ??= stored.entry;
      next = stored.entry.parent;
    }
    return found;
  }

  /** Change the entry of a live token by compare-and-swap; undefined when it is not alive any more. */
  async #update(hash: string, change: (entry: TokenEntry) => TokenEntry): Promise<LiveToken | undefined> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await this.#entries.read(hash);
      if (stored === undefined || !isUsable(stored.entry, this.#ports.clock.now())) return undefined;
      const entry = change(stored.entry);
      const kept = entry.usesLeft === SPENT ? { ...entry, expiresAtMs: AT_ONCE_MS } : entry;
      if (await this.#entries.swap(hash, stored, kept)) return { hash, entry };
    }
    throw tooBusy();
  }

  #hash(token: string): string {
    return createHmac("sha256", this.#salt).update(token).digest("hex");
  }
}
