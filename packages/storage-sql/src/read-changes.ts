import { forgotten, MAX_TRANSACTION_WRITES } from "@rk8s/storage";
import type { Change } from "@rk8s/storage";

import { prefixRange } from "./key-range.js";
import type { Database } from "./connection/database.js";

/** How far a watcher has come. */
export interface Cursor {
  readonly revision: number;
  /** The attempt that made that revision, when it is known: a history that another one replaced is noticed by it. */
  readonly attempt: Buffer | undefined;
}

export interface ChangePage {
  readonly changes: readonly Change[];
  readonly cursor: Cursor;
  /** Whether more can be read at once. */
  readonly more: boolean;
}

/** Room for one whole transaction at least, beside the two rows that are there for their attempt. */
const PAGE_ROWS = 2 * MAX_TRANSACTION_WRITES + 2;

/**
 * The changes under a prefix after a cursor. One statement reads them together with the change at the cursor and the
 * newest one: the first proves that nothing in between was forgotten, the second is the cursor to go on from.
 * @throws {RksError} CONFLICT when the change at the cursor is gone or is another one than the watcher saw.
 */
export async function readChanges(db: Database, prefix: string, cursor: Cursor): Promise<ChangePage> {
  const [first, last] = prefixRange(prefix);
  const rows = await db
    .selectFrom("rk8s_changes")
    .select(["revision", "seq", "entry_key", "entry_value", "attempt"])
    .where("revision", ">=", cursor.revision)
    .where((is) =>
      is.or([
        is.and([
          is("revision", ">", cursor.revision),
          is("entry_key", ">=", first),
          is("entry_key", "<", last),
        ]),
        is.and([is("revision", "=", cursor.revision), is("seq", "=", 0)]),
        is.and([is("revision", "=", is.selectFrom("rk8s_store").select("revision")), is("seq", "=", 0)]),
      ]),
    )
    .orderBy("revision")
    .orderBy("seq")
    .limit(PAGE_ROWS)
    .execute();
  const found = rows.map((row) => ({ ...row, revision: Number(row.revision) }));
  const [anchor] = found;
  if (anchor?.revision !== cursor.revision) throw forgotten(cursor.revision + 1);
  if (cursor.attempt !== undefined && !anchor.attempt.equals(cursor.attempt))
    throw forgotten(cursor.revision + 1);
  const more = found.length === PAGE_ROWS;
  const end = found.at(-1)?.revision ?? cursor.revision;
  // Of a full page the last transaction may be cut in two: it is read again as a whole.
  const whole = more ? found.filter(({ revision }) => revision < end) : found;
  const newest = whole.at(-1) ?? anchor;
  const changes: Change[] = [];
  for (const { revision, entry_key, entry_value } of whole) {
    if (revision === cursor.revision) continue;
    const key = entry_key.toString();
    if (!key.startsWith(prefix)) continue;
    changes.push({ key, value: entry_value === null ? undefined : Uint8Array.from(entry_value), revision });
  }
  return { changes, cursor: { revision: newest.revision, attempt: newest.attempt }, more };
}
