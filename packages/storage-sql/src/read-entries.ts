import type { Entry, Page } from "@rk8s/storage";
import { sql } from "kysely";

import { prefixRange } from "./key-range.js";
import type { Database } from "./connection/database.js";

/** The entries of those keys that exist, each to be made as often as it is needed: nobody shares a value's bytes. */
export async function readEntries(
  db: Database,
  keys: ReadonlySet<string>,
): Promise<ReadonlyMap<string, () => Entry>> {
  const rows = await db
    .selectFrom("rk8s_entries")
    .select(["entry_key", "entry_value", "create_revision", "mod_revision"])
    .where(
      "entry_key",
      "in",
      [...keys].map((key) => Buffer.from(key)),
    )
    .execute();
  return new Map(
    rows.map((row) => {
      const key = row.entry_key.toString();
      return [key, () => entryOf(key, row)];
    }),
  );
}

/** As `Storage.list`. One statement reads entries and revision, so that both are of the same moment. */
export async function readPage(
  db: Database,
  prefix: string,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<Page> {
  const [first, last] = prefixRange(prefix);
  const rows = await db
    .selectFrom("rk8s_store")
    .select([
      sql<Buffer>`null`.as("entry_key"),
      sql<Buffer>`null`.as("entry_value"),
      sql<number | string>`0`.as("create_revision"),
      "revision as mod_revision",
    ])
    .unionAll((branch) =>
      branch.parens(
        branch
          .selectFrom("rk8s_entries")
          .select(["entry_key", "entry_value", "create_revision", "mod_revision"])
          .where("entry_key", ">=", first)
          .where("entry_key", "<", last)
          .where("entry_key", ">", Buffer.from(after))
          .orderBy("entry_key")
          .limit(limit + 1),
      ),
    )
    .execute();
  const entries: Entry[] = [];
  let revision = 0;
  for (const row of rows) {
    // The row of the store is the one without a key.
    if ((row.entry_key as Buffer | null) === null) revision = Number(row.mod_revision);
    else entries.push(entryOf(row.entry_key.toString(), row));
  }
  const more = entries.length > limit;
  if (more) entries.pop();
  return { entries, more, revision };
}

interface EntryRow {
  readonly entry_value: Buffer;
  readonly create_revision: number | string;
  readonly mod_revision: number | string;
}

/** The value is copied: a driver's bytes may be a part of what it received. */
function entryOf(key: string, row: EntryRow): Entry {
  return {
    key,
    value: Uint8Array.from(row.entry_value),
    createRevision: Number(row.create_revision),
    modRevision: Number(row.mod_revision),
  };
}
