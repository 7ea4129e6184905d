import { sql } from "kysely";
import type { Transaction } from "kysely";

import type { StoreState } from "./commit-batch.js";
import type { SqlSchema } from "./schema.js";

/** Revisions that watchers can go back to, and bytes of values that are kept for them. */
const MAX_REVISIONS = 50_000;
const MAX_BYTES = 256 * 1024 * 1024;
/** How far a bound may be passed before something is done: deleting a few rows each time would cost every writer. */
const SLACK_REVISIONS = 1000;
const SLACK_BYTES = 16 * 1024 * 1024;
/** Changes that are looked at in one go, so that no writer waits long. */
const STEP_ROWS = 2000;

/**
 * Keep the log of changes within its bounds: delete the oldest revisions when it is too long or too large. At most a step at a time;
 * the next commit goes on.
 */
export async function forgetOldChanges(open: Transaction<SqlSchema>, store: StoreState): Promise<StoreState> {
  const { revision, oldest, logBytes } = store;
  const isLong = revision - oldest > MAX_REVISIONS + SLACK_REVISIONS;
  if (!isLong && logBytes <= MAX_BYTES + SLACK_BYTES) return store;
  const rows = await open
    .selectFrom("rk8s_changes")
    .select(["revision", sql<number | string>`coalesce(octet_length(entry_value), 0)`.as("size")])
    .orderBy("revision")
    .orderBy("seq")
    .limit(STEP_ROWS)
    .execute();
  const kept = firstToKeep(
    rows.map((row) => ({ revision: Number(row.revision), size: Number(row.size) })),
    store,
  );
  await open.deleteFrom("rk8s_changes").where("revision", "<", kept.oldest).execute();
  return { ...store, ...kept };
}

/** Never more than what lies before the last row: a revision of which only a part was read is kept. */
function firstToKeep(
  rows: readonly { readonly revision: number; readonly size: number }[],
  { revision: newest, oldest, logBytes }: StoreState,
): Pick<StoreState, "oldest" | "logBytes"> {
  const last = rows.at(-1)?.revision ?? oldest;
  let bytes = logBytes;
  let first = oldest;
  let dropped = 0;
  for (const { revision, size } of rows) {
    if (revision !== first) {
      bytes -= dropped;
      dropped = 0;
      first = revision;
    }
    if (revision === last || (newest - revision <= MAX_REVISIONS && bytes <= MAX_BYTES)) break;
    dropped += size;
  }
  return { oldest: first, logBytes: bytes };
}
