import type { Storage, Write } from "@rk8s/storage";
import { MAX_CONFLICTS, type StoredTokens } from "./stored-tokens.js";
import { SPENT } from "./token-entry.js";
import { tooBusy } from "./token-errors.js";
import { AT_ONCE_MS, CHILD_PREFIX, expiryWrites, tokenIndex } from "./token-keys.js";

/** Descendants removed at once: the store makes their transactions durable together. */
const REVOKED_AT_ONCE = 32;

export interface TokenRevocationInit {
  readonly storage: Storage;
  readonly entries: StoredTokens;
  /** Names a token or an accessor in the store. */
  readonly hash: (text: string) => string;
  /** End what hangs on a token that is being removed. Called again when it failed. */
  readonly cleanUp: (hash: string) => Promise<void>;
}

/** Ends tokens: first they are dead, then all that they have left in the store is removed. */
export class TokenRevocation {
  readonly #storage: Storage;
  readonly #entries: StoredTokens;
  readonly #hash: (text: string) => string;
  readonly #cleanUp: (hash: string) => Promise<void>;

  constructor({ storage, entries, hash, cleanUp }: TokenRevocationInit) {
    this.#storage = storage;
    this.#entries = entries;
    this.#hash = hash;
    this.#cleanUp = cleanUp;
  }

  /**
   * Revoke a token and all that descend from it. Nothing of the line is alive once the first write is done; what a
   * crash leaves is found when it is due.
   */
  async revoke(hash: string): Promise<void> {
    await this.#condemn(hash);
    for (let level: readonly string[] = [hash]; level.length > 0;) {
      const below: string[] = [];
      for (let start = 0; start < level.length; start += REVOKED_AT_ONCE) {
        const some = level.slice(start, start + REVOKED_AT_ONCE);
        const children = await Promise.all(some.map((next) => this.#removeOne(next)));
        below.push(...children.flat());
      }
      level = below;
    }
  }

  /** Revoke a token and make its children orphans. */
  async revokeOrphaning(hash: string): Promise<void> {
    await this.#orphanChildren(hash);
    await this.#condemn(hash);
    // Those that were made meanwhile; from now on there are no more.
    await this.#orphanChildren(hash);
    await this.#remove(hash);
  }

  /** Make a token dead for good; it is first in line for removal. Not there: nothing happens. */
  async #condemn(hash: string): Promise<void> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await this.#entries.read(hash);
      if (stored === undefined || stored.entry.usesLeft === SPENT) return;
      if (
        await this.#entries.swap(hash, stored, { ...stored.entry, usesLeft: SPENT, expiresAtMs: AT_ONCE_MS })
      )
        return;
    }
    throw tooBusy();
  }

  async #orphanChildren(hash: string): Promise<void> {
    for (let more = true; more;) {
      const page = await this.#children(hash, undefined);
      for (const child of page.children) await this.#orphan(hash, child);
      more = page.more;
    }
  }

  async #orphan(parent: string, child: string): Promise<void> {
    const link = { type: "delete", key: `${CHILD_PREFIX}${parent}/${child}` } as const;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await this.#entries.read(child);
      if (stored === undefined) {
        await this.#storage.transaction([], [link]);
        return;
      }
      const { parent: _parent, ...entry } = stored.entry;
      if (await this.#entries.swap(child, stored, entry, [link])) return;
    }
    throw tooBusy();
  }

  async #children(
    hash: string,
    after: string | undefined,
  ): Promise<{ children: readonly string[]; last: string | undefined; more: boolean }> {
    const page = await this.#storage.list(`${CHILD_PREFIX}${hash}/`, { limit: 100, ...afterKey(after) });
    const children = page.entries.map(({ key }) => key.slice(key.lastIndexOf("/") + 1));
    const last = page.entries.at(-1)?.key;
    return { children, last, more: page.more && last !== undefined };
  }

  /** Remove a condemned token; gives its children, which are condemned then. */
  async #removeOne(hash: string): Promise<readonly string[]> {
    const all: string[] = [];
    for (let after: string | undefined, more = true; more;) {
      const page = await this.#children(hash, after);
      await Promise.all(page.children.map((child) => this.#condemn(child)));
      all.push(...page.children);
      after = page.last;
      more = page.more;
    }
    await this.#remove(hash);
    return all;
  }

  /** Delete a condemned token's own entries, after all that hangs on it. */
  async #remove(hash: string): Promise<void> {
    await this.#cleanUp(hash);
    const stored = await this.#entries.read(hash);
    if (stored === undefined) return;
    const { entry } = stored;
    const index = tokenIndex(entry, hash, this.#hash(entry.accessor));
    const writes: Write[] = [
      { type: "delete", key: stored.key },
      ...index.map(({ key }) => ({ type: "delete", key }) as const),
      ...expiryWrites(hash, entry.expiresAtMs, undefined),
    ];
    await this.#entries.write(hash, [], writes);
  }
}

function afterKey(after: string | undefined): { readonly after?: string } {
  return after === undefined ? {} : { after };
}
