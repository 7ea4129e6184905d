import { sql } from "kysely";
import type { Transaction } from "kysely";

import { decideBatch, keysOf } from "./batch.js";
import { chunksOf } from "./chunks.js";
import { forgetOldChanges } from "./forget-changes.js";
import { LostCommit } from "./connection/database.js";
import type { KeyState, Outcome, Request } from "./batch.js";
import type { Database } from "./connection/database.js";
import type { SqlSchema } from "./schema.js";
import type { SqlTarget } from "./sql-target.js";

/** Of the number that marks the rows of one attempt to commit. */
export const ATTEMPT_BYTES = 16;

/** PostgreSQL tells its listeners on this channel that there is a new revision. */
export const CHANNEL = "rk8s_changes";

/** A batch whose COMMIT got no answer: it is applied as a whole, or not at all. */
export class DoubtfulCommit extends LostCommit {
  readonly outcome: Outcome;
  readonly attempt: Buffer;

  constructor(cause: LostCommit, outcome: Outcome, attempt: Buffer) {
    super(cause);
    this.outcome = outcome;
    this.attempt = attempt;
  }
}

/** What came of a doubtful commit; "forgotten" when so much was written since that it cannot be told any more. */
export type Verdict = "applied" | "not applied" | "forgotten";

export interface StoreState {
  readonly revision: number;
  readonly oldest: number;
  readonly logBytes: number;
}

type Open = Transaction<SqlSchema>;

/**
 * Apply transactions in their order, in one SQL transaction. Everybody who writes holds the lock of the store's one row from
 * before reading until after COMMIT, so comparisons hold when the writes become visible, and revisions become
 * visible in their order and without gaps.
 * @param attempt never used before
 * @throws {DoubtfulCommit} when COMMIT got no answer
 * @throws {RksError} for anything else, and then nothing was written
 */
export async function commitBatch(
  db: Database,
  engine: SqlTarget["engine"],
  requests: readonly Request[],
  attempt: Buffer,
): Promise<Outcome> {
  let outcome: Outcome | undefined;
  try {
    return await db.transaction().execute(async (open) => {
      const store = await lockStore(open);
      outcome = decideBatch(requests, await statesOf(open, [...keysOf(requests)]), store.revision);
      if (outcome.changes.length > 0) await write(open, engine, outcome, store, attempt);
      return outcome;
    });
  } catch (reason) {
    if (!(reason instanceof LostCommit) || outcome === undefined) throw reason;
    // Nothing to commit, so nothing in doubt: what was compared was read under the lock.
    if (outcome.changes.length === 0) return outcome;
    throw new DoubtfulCommit(reason, outcome, attempt);
  }
}

/**
 * Find out what came of a commit. The lock is what makes the answer final: as long as the lost session could still commit, it
 * holds that lock. MariaDB gives the lock up before the commit is on disk, so what was applied is only reported behind a commit of
 * our own, which is on disk after it.
 * @throws {RksError} CONNECTION_LOST and the like: ask again.
 */
export async function verdictOn(db: Database, { outcome, attempt }: DoubtfulCommit): Promise<Verdict> {
  const first = outcome.changes[0]?.revision ?? 0;
  return db.transaction().execute(async (open) => {
    const { revision, oldest } = await lockStore(open);
    if (revision < first) return "not applied";
    if (oldest > first) return "forgotten";
    const row = await open
      .selectFrom("rk8s_changes")
      .select("attempt")
      .where("revision", "=", first)
      .where("seq", "=", 0)
      .executeTakeFirst();
    if (row?.attempt.equals(attempt) !== true) return "not applied";
    await open
      .updateTable("rk8s_store")
      .set({ lookups: sql<number>`lookups + 1` })
      .where("id", "=", 1)
      .execute();
    return "applied";
  });
}

async function lockStore(open: Open): Promise<StoreState> {
  const row = await open
    .selectFrom("rk8s_store")
    .select(["revision", "oldest", "log_bytes"])
    .where("id", "=", 1)
    .forUpdate()
    .executeTakeFirstOrThrow();
  return {
    revision: Number(row.revision),
    oldest: Number(row.oldest),
    logBytes: Number(row.log_bytes),
  };
}

async function statesOf(open: Open, keys: readonly string[]): Promise<ReadonlyMap<string, KeyState>> {
  if (keys.length === 0) return new Map();
  const rows = await open
    .selectFrom("rk8s_entries")
    .select(["entry_key", "create_revision", "mod_revision"])
    .where(
      "entry_key",
      "in",
      keys.map((key) => Buffer.from(key)),
    )
    .execute();
  return new Map(
    rows.map((row) => [
      row.entry_key.toString(),
      { createRevision: Number(row.create_revision), modRevision: Number(row.mod_revision) },
    ]),
  );
}

async function write(
  open: Open,
  engine: SqlTarget["engine"],
  { changes, entries, revision }: Outcome,
  store: StoreState,
  attempt: Buffer,
): Promise<void> {
  await writeEntries(open, engine, entries);
  let bytes = store.logBytes;
  const rows = changes.map(({ revision: own, seq, key, value }) => {
    bytes += value?.byteLength ?? 0;
    const entry_value = value === undefined ? null : asBuffer(value);
    return { revision: own, seq, entry_key: Buffer.from(key), entry_value, attempt };
  });
  for (const chunk of chunksOf(rows)) await open.insertInto("rk8s_changes").values(chunk).execute();
  const { oldest, logBytes } = await forgetOldChanges(open, { ...store, revision, logBytes: bytes });
  const update = open
    .updateTable("rk8s_store")
    .set({ revision, oldest, log_bytes: logBytes })
    .where("id", "=", 1);
  await (engine === "postgres"
    ? update.returning(sql`pg_notify(${sql.lit(CHANNEL)}, ${sql.lit(String(revision))})`.as("told")).execute()
    : update.execute());
}

async function writeEntries(
  open: Open,
  engine: SqlTarget["engine"],
  entries: Outcome["entries"],
): Promise<void> {
  const deleted: Buffer[] = [];
  const rows = [];
  for (const [key, entry] of entries) {
    const entry_key = Buffer.from(key);
    if (entry === undefined) {
      deleted.push(entry_key);
      continue;
    }
    const { createRevision: create_revision, modRevision: mod_revision, value } = entry;
    rows.push({ entry_key, entry_value: asBuffer(value), create_revision, mod_revision });
  }
  if (deleted.length > 0) {
    await open.deleteFrom("rk8s_entries").where("entry_key", "in", deleted).execute();
  }
  for (const chunk of chunksOf(rows)) {
    const insert = open.insertInto("rk8s_entries").values(chunk);
    await (
      engine === "postgres"
        ? insert.onConflict((conflict) => conflict.column("entry_key").doUpdateSet(NEW_POSTGRES))
        : insert.onDuplicateKeyUpdate(NEW_MYSQL)
    ).execute();
  }
}

/** The new row's columns, as the two kinds of server name them when the key exists. */
const NEW_POSTGRES = {
  entry_value: sql<Buffer>`excluded.entry_value`,
  create_revision: sql<number>`excluded.create_revision`,
  mod_revision: sql<number>`excluded.mod_revision`,
};
const NEW_MYSQL = {
  entry_value: sql<Buffer>`values(entry_value)`,
  create_revision: sql<number>`values(create_revision)`,
  mod_revision: sql<number>`values(mod_revision)`,
};

/** Both drivers know bytes by the class `Buffer`. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
