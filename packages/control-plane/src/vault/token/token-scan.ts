import { pagesOf, type Storage } from "@rk8s/storage";
import { decodeTokenEntry } from "./token-entry.js";
import { ACCESSOR_PREFIX, CHILD_PREFIX, TOKEN_PREFIX } from "./token-keys.js";
import type { LiveToken } from "./token-store.js";

const PAGE = 250;

/** Read all service tokens, a page at a time; dead ones that were not removed yet as well. */
export async function* scanTokens(storage: Storage): AsyncGenerator<LiveToken, void, void> {
  for await (const entries of pagesOf(storage, TOKEN_PREFIX, { limit: PAGE })) {
    for (const { key, value } of entries) {
      yield { hash: key.slice(TOKEN_PREFIX.length), entry: decodeTokenEntry(value) };
    }
  }
}

/** Delete index entries whose token is not there, as a damaged or older store may have. Gives how many. */
export async function tidyTokenIndex(storage: Storage, signal: AbortSignal): Promise<number> {
  let removed = 0;
  for (const prefix of [ACCESSOR_PREFIX, CHILD_PREFIX]) {
    for await (const entries of pagesOf(storage, prefix, { limit: PAGE })) {
      for (const { key, value, modRevision } of entries) {
        signal.throwIfAborted();
        const isChild = prefix === CHILD_PREFIX;
        const hash = isChild ? key.slice(key.lastIndexOf("/") + 1) : Buffer.from(value).toString();
        if ((await storage.get(TOKEN_PREFIX + hash)) !== undefined) continue;
        const absent = { key: TOKEN_PREFIX + hash, modRevision: 0 };
        const { succeeded } = await storage.transaction(
          [absent, { key, modRevision }],
          [{ type: "delete", key }],
        );
        if (succeeded) removed += 1;
      }
    }
  }
  return removed;
}
