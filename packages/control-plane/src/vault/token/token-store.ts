import { createHmac, randomBytes } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Clock } from "@rk8s/protocol";

import type { Storage, Write } from "../../storage/storage.js";
import { OPERATOR_TOKEN } from "./operator-token.js";
import { decodeTokenEntry, encodeTokenEntry, isExpired, SPENT, UNLIMITED_USES } from "./token-entry.js";
import type { TokenEntry } from "./token-entry.js";

const SALT_KEY = "token/salt";
const ID_PREFIX = "token/id/";
const ACCESSOR_PREFIX = "token/accessor/";
const CHILD_PREFIX = "token/child/";
const EXPIRY_PREFIX = "token/expiry/";
const SALT_BYTES = 32;
const TOKEN_BYTES = 32;
const ACCESSOR_BYTES = 18;
/** No token is longer; longer ones are not even hashed. */
const MAX_TOKEN_CHARACTERS = 256;
/** How deep tokens may descend from one another; each authentication looks at every ancestor. */
const MAX_TOKEN_DEPTH = 16;
/** Expired tokens removed with each new one, so that they cannot pile up. */
const TIDY_PER_CREATE = 8;
/** A conflict means that another use of the same token won; so many in a row do not happen to a sane caller. */
const MAX_CONFLICTS = 200;

/** A token that may be used, as it was found. */
export interface LiveToken {
  readonly hash: string;
  readonly entry: TokenEntry;
}

/** The entry without what the store decides itself. */
export type NewToken = Omit<TokenEntry, "version" | "accessor" | "parent" | "depth" | "createdAtMs">;

/**
 * Tokens in the barrier. Of a token only a salted hash is kept. A token is alive when its entry and those of all its
 * ancestors exist, have not expired and are not spent; revoking one therefore takes effect on its whole line at once.
 */
export class TokenStore {
  readonly #storage: Storage;
  readonly #clock: Pick<Clock, "now">;
  readonly #salt: Uint8Array;

  private constructor(storage: Storage, salt: Uint8Array, clock: Pick<Clock, "now">) {
    this.#storage = storage;
    this.#salt = salt;
    this.#clock = clock;
  }

  /** @throws {RksError} STORAGE_CORRUPT when the salt is missing. */
  static async open(storage: Storage, clock: Pick<Clock, "now">): Promise<TokenStore> {
    const salt = await storage.get(SALT_KEY);
    if (salt === undefined) {
      throw new RksError("STORAGE_CORRUPT", "the salt of the tokens is missing", {
        suggestion: "Restore the data folder from the newest backup.",
      });
    }
    return new TokenStore(storage, salt.value, clock);
  }

  /** The writes that make a new store with one token in it, and that token. */
  static initial(
    storage: Storage,
    token: NewToken,
    clock: Pick<Clock, "now">,
  ): { readonly token: string; readonly writes: readonly Write[] } {
    const salt = randomBytes(SALT_BYTES);
    const store = new TokenStore(storage, salt, clock);
    const made = store.#make(token, undefined);
    return { token: made.token, writes: [{ type: "put", key: SALT_KEY, value: salt }, ...made.writes] };
  }

  /**
   * Make a token below `parent`, or an orphan; the operator's are orphans.
   * @throws {RksError} INPUT_INVALID when the line of ancestors is too long.
   */
  async create(
    token: NewToken,
    parent: LiveToken | undefined,
  ): Promise<{ token: string; entry: TokenEntry }> {
    const made = this.#make(token, parent === OPERATOR_TOKEN ? undefined : parent);
    await this.#tidy();
    await this.#storage.transaction([], made.writes);
    return made;
  }

  /** Look a token up without using it; undefined when it is not alive. */
  async find(token: string): Promise<LiveToken | undefined> {
    if (token.length > MAX_TOKEN_CHARACTERS || token === "") return undefined;
    return this.#findHash(this.#hash(token));
  }

  async findByAccessor(accessor: string): Promise<LiveToken | undefined> {
    if (accessor.length > MAX_TOKEN_CHARACTERS || accessor === "") return undefined;
    const index = await this.#storage.get(ACCESSOR_PREFIX + this.#hash(accessor));
    return index === undefined ? undefined : this.#findHash(Buffer.from(index.value).toString());
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
    return this.#update(hash, (entry) => ({ ...entry, expiresAtMs: expiry(entry) }));
  }

  /**
   * Revoke a token and all that descend from it. Nothing of the line is alive once the first write is done; after a
   * crash in between, what is left of it stays dead and goes when it expires.
   */
  async revoke(hash: string): Promise<void> {
    const pending = [hash];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      await this.#remove(next);
      for (let more = true; more;) {
        const page = await this.#storage.list(`${CHILD_PREFIX}${next}/`, { limit: 100 });
        pending.push(...page.entries.map(({ key }) => key.slice(key.lastIndexOf("/") + 1)));
        await this.#storage.transaction(
          [],
          page.entries.map(({ key }) => ({ type: "delete", key })),
        );
        more = page.more;
      }
    }
  }

  #make(
    token: NewToken,
    parent: LiveToken | undefined,
  ): { token: string; entry: TokenEntry; writes: readonly Write[] } {
    const depth = parent === undefined ? 0 : parent.entry.depth + 1;
    if (depth > MAX_TOKEN_DEPTH) {
      throw new RksError("INPUT_INVALID", `a token has at most ${MAX_TOKEN_DEPTH} ancestors`, {
        suggestion: "Make the token with one of its ancestors, or as an orphan.",
      });
    }
    const secret = `hvs.${randomBytes(TOKEN_BYTES).toString("base64url")}`;
    const accessor = randomBytes(ACCESSOR_BYTES).toString("base64url");
    const hash = this.#hash(secret);
    const entry: TokenEntry = {
      version: 1,
      ...token,
      accessor,
      depth,
      createdAtMs: this.#clock.now(),
      ...(parent === undefined ? {} : { parent: parent.hash }),
    };
    const writes: Write[] = [
      { type: "put", key: ID_PREFIX + hash, value: encodeTokenEntry(entry) },
      { type: "put", key: ACCESSOR_PREFIX + this.#hash(accessor), value: Buffer.from(hash) },
    ];
    if (parent !== undefined) writes.push({ type: "put", key: childKey(parent.hash, hash), value: EMPTY });
    if (entry.expiresAtMs !== undefined) {
      writes.push({ type: "put", key: expiryKey(entry.expiresAtMs, hash), value: EMPTY });
    }
    return { token: secret, entry, writes };
  }

  /** The token when it and its ancestors are alive. */
  async #findHash(hash: string): Promise<LiveToken | undefined> {
    const now = this.#clock.now();
    let found: TokenEntry | undefined;
    let next: string | undefined = hash;
    for (let depth = 0; next !== undefined && depth <= MAX_TOKEN_DEPTH; depth += 1) {
      const stored = await this.#storage.get(ID_PREFIX + next);
      if (stored === undefined) return undefined;
      const entry = decodeTokenEntry(stored.value);
      if (isExpired(entry, now) || entry.usesLeft === SPENT) return undefined;
      found ??= entry;
      next = entry.parent;
    }
    return found === undefined ? undefined : { hash, entry: found };
  }

  /** Change the entry of a live token by compare-and-swap; undefined when it is not alive any more. */
  async #update(hash: string, change: (entry: TokenEntry) => TokenEntry): Promise<LiveToken | undefined> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const key = ID_PREFIX + hash;
      const stored = await this.#storage.get(key);
      if (stored === undefined) return undefined;
      const old = decodeTokenEntry(stored.value);
      if (isExpired(old, this.#clock.now()) || old.usesLeft === SPENT) return undefined;
      const entry = change(old);
      const writes: Write[] = [{ type: "put", key, value: encodeTokenEntry(entry) }];
      if (entry.expiresAtMs !== old.expiresAtMs) {
        if (old.expiresAtMs !== undefined) {
          writes.push({ type: "delete", key: expiryKey(old.expiresAtMs, hash) });
        }
        if (entry.expiresAtMs !== undefined) {
          writes.push({ type: "put", key: expiryKey(entry.expiresAtMs, hash), value: EMPTY });
        }
      }
      const { succeeded } = await this.#storage.transaction(
        [{ key, modRevision: stored.modRevision }],
        writes,
      );
      if (succeeded) return { hash, entry };
    }
    throw new RksError("BUSY", "the token is being used by too many requests at once", {
      suggestion: "Try again in a moment, with one token for each worker.",
    });
  }

  /** Delete a token's own entries. */
  async #remove(hash: string): Promise<void> {
    const stored = await this.#storage.get(ID_PREFIX + hash);
    if (stored === undefined) return;
    const entry = decodeTokenEntry(stored.value);
    const keys = [ID_PREFIX + hash, ACCESSOR_PREFIX + this.#hash(entry.accessor)];
    if (entry.parent !== undefined) keys.push(childKey(entry.parent, hash));
    if (entry.expiresAtMs !== undefined) keys.push(expiryKey(entry.expiresAtMs, hash));
    await this.#storage.transaction(
      [],
      keys.map((key) => ({ type: "delete", key })),
    );
  }

  /** Remove a few of the tokens that expired the longest ago. */
  async #tidy(): Promise<void> {
    const { entries } = await this.#storage.list(EXPIRY_PREFIX, { limit: TIDY_PER_CREATE });
    for (const { key } of entries) {
      const [expiresAt = "", hash = ""] = key.slice(EXPIRY_PREFIX.length).split("/");
      if (Number(expiresAt) > this.#clock.now()) return;
      await this.revoke(hash);
      await this.#storage.transaction([], [{ type: "delete", key }]);
    }
  }

  #hash(token: string): string {
    return createHmac("sha256", this.#salt).update(token).digest("hex");
  }
}

const EMPTY = new Uint8Array(0);

function childKey(parent: string, child: string): string {
  return `${CHILD_PREFIX}${parent}/${child}`;
}

/** Digits enough for any date, so that text order is time order. */
function expiryKey(expiresAtMs: number, hash: string): string {
  return `${EXPIRY_PREFIX}${String(expiresAtMs).padStart(16, "0")}/${hash}`;
}
