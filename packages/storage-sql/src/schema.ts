import type { ColumnType } from "kysely";

/** What the tables look like; raised with every change of them. */
export const SCHEMA_VERSION = 1;

/** Eight-byte integers: pg gives text for them, mysql2 numbers. Read them with `Number`. */
type Count = ColumnType<number | string, number, number>;

export interface SqlSchema {
  readonly rk8s_store: StoreTable;
  readonly rk8s_entries: EntriesTable;
  readonly rk8s_changes: ChangesTable;
}

/** One row. Whoever writes locks it first: its lock is what gives revisions their order. */
interface StoreTable {
  readonly id: number;
  readonly version: number;
  readonly revision: Count;
  /** The oldest revision in `rk8s_changes`, from which on watchers can go on. */
  readonly oldest: Count;
  /** Bytes of the values in `rk8s_changes`. */
  readonly log_bytes: Count;
  /** Commits that were looked up because their answer was lost. */
  readonly lookups: Count;
}

interface EntriesTable {
  /** UTF-8, ordered by bytes. */
  readonly entry_key: Buffer;
  readonly entry_value: Buffer;
  readonly create_revision: Count;
  readonly mod_revision: Count;
}

/** The latest changes, for watchers. Every revision has a row 0; the first revision, 0, has one with an empty key. */
interface ChangesTable {
  readonly revision: Count;
  /** Which change of its transaction this is. */
  readonly seq: number;
  readonly entry_key: Buffer;
  /** Null when the key was deleted. */
  readonly entry_value: Buffer | null;
  /** Chosen by the writer for each commit: tells a history from another one with the same numbers. */
  readonly attempt: Buffer;
}
