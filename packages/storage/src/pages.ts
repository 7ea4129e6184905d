import type { Entry, ListRange, Storage } from "./storage.js";

/** Entries deleted in one transaction. */
const DELETED_AT_ONCE = 100;

/**
 * Everything under a prefix in key order, a page of at most `limit` entries at a time. A page is read when it is asked for:
 * what was given already may be changed or deleted meanwhile.
 */
export async function* pagesOf(
  storage: Pick<Storage, "list">,
  prefix: string,
  range: ListRange = {},
): AsyncGenerator<readonly Entry[], void, void> {
  for (let { after } = range, more = true; more;) {
    const page = await storage.list(prefix, { ...range, ...(after === undefined ? {} : { after }) });
    yield page.entries;
    after = page.entries.at(-1)?.key;
    more = page.more && after !== undefined;
  }
}

/** Delete everything under a prefix, a page in a transaction. Gives how many entries there were. */
export async function deletePrefix(storage: Storage, prefix: string): Promise<number> {
  let count = 0;
  for (let more = true; more;) {
    const page = await storage.list(prefix, { limit: DELETED_AT_ONCE });
    await storage.transaction(
      [],
      page.entries.map(({ key }) => ({ type: "delete", key })),
    );
    count += page.entries.length;
    more = page.more;
  }
  return count;
}
