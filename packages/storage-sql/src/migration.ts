import { randomBytes } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import { sql } from "kysely";
import type { RawBuilder } from "kysely";

import { ATTEMPT_BYTES } from "./commit-batch.js";
import { SCHEMA_VERSION } from "./schema.js";
import type { Database } from "./connection/database.js";
import type { SqlTarget } from "./sql-target.js";

/** One number for all openers of one database; it means nothing else. */
const LOCK_NUMBER = 7_259_823;
/** How long MariaDB lets an opener wait while another one makes the tables. */
const LOCK_SECONDS = 10;

/**
 * Make the tables unless they are there. Several may open a new database at once, and one that dies in between leaves
 * nothing that the next one cannot complete: the row with the version is written last.
 * @throws {RksError} CONFIG_INVALID when a newer rks made them, PERMISSION_DENIED when this user may not.
 */
export async function ensureTables(db: Database, { engine, database }: SqlTarget): Promise<void> {
  let version = await versionOf(db);
  if (version === undefined) {
    await (engine === "postgres" ? makeInPostgres(db) : makeInMysql(db));
    version = await versionOf(db);
  }
  if (version === SCHEMA_VERSION) return;
  throw new RksError(
    "CONFIG_INVALID",
    `the tables of rks in the database "${database}" have version ${version ?? "none"}, expected ${SCHEMA_VERSION}`,
    { suggestion: "Start the version of rks that made them, or name another database." },
  );
}

async function versionOf(db: Database): Promise<number | undefined> {
  try {
    return (await db.selectFrom("rk8s_store").select("version").executeTakeFirst())?.version;
  } catch (reason) {
    if (reason instanceof RksError && reason.code === "NOT_FOUND") return undefined;
    throw reason;
  }
}

/** All or nothing: PostgreSQL's table definitions are part of the transaction. */
async function makeInPostgres(db: Database): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await sql`select pg_advisory_xact_lock(${sql.lit(LOCK_NUMBER)})`.execute(transaction);
    for (const statement of POSTGRES_TABLES) await statement.execute(transaction);
    const first = transaction.insertInto("rk8s_changes").values(firstChange());
    await first.onConflict((conflict) => conflict.doNothing()).execute();
    const store = transaction.insertInto("rk8s_store").values(EMPTY_STORE);
    await store.onConflict((conflict) => conflict.doNothing()).execute();
  });
}

/** Each table definition commits by itself, so a lock of the session's keeps others away. */
async function makeInMysql(db: Database): Promise<void> {
  await db.connection().execute(async (session) => {
    const name = sql`concat('rk8s:', md5(database()))`;
    await sql`select get_lock(${name}, ${sql.lit(LOCK_SECONDS)})`.execute(session);
    try {
      for (const statement of MYSQL_TABLES) await statement.execute(session);
      await session.insertInto("rk8s_changes").ignore().values(firstChange()).execute();
      await session.insertInto("rk8s_store").ignore().values(EMPTY_STORE).execute();
    } finally {
      await sql`select release_lock(${name})`.execute(session);
    }
  });
}

const EMPTY_STORE = { id: 1, version: SCHEMA_VERSION, revision: 0, oldest: 0, log_bytes: 0, lookups: 0 };

/** The beginning of the history, so that every watch has a change before its first one. */
function firstChange(): {
  revision: number;
  seq: number;
  entry_key: Buffer;
  entry_value: null;
  attempt: Buffer;
} {
  return {
    revision: 0,
    seq: 0,
    entry_key: Buffer.alloc(0),
    entry_value: null,
    attempt: randomBytes(ATTEMPT_BYTES),
  };
}

/** Values are ciphertext, so they are kept out of the row but not compressed. */
const POSTGRES_TABLES: readonly RawBuilder<unknown>[] = [
  sql`create table if not exists rk8s_store (
    id smallint primary key check (id = 1), version integer not null, revision bigint not null,
    oldest bigint not null, log_bytes bigint not null, lookups bigint not null)`,
  sql`create table if not exists rk8s_entries (
    entry_key bytea primary key, entry_value bytea not null, create_revision bigint not null, mod_revision bigint not null)`,
  sql`alter table rk8s_entries alter column entry_value set storage external`,
  sql`create table if not exists rk8s_changes (
    revision bigint not null, seq integer not null, entry_key bytea not null, entry_value bytea, attempt bytea not null,
    primary key (revision, seq))`,
  sql`alter table rk8s_changes alter column entry_value set storage external`,
];

const MYSQL_TABLES: readonly RawBuilder<unknown>[] = [
  sql`create table if not exists rk8s_store (
    id smallint primary key, version integer not null, revision bigint not null,
    oldest bigint not null, log_bytes bigint not null, lookups bigint not null) engine=InnoDB`,
  sql`create table if not exists rk8s_entries (
    entry_key varbinary(1200) primary key, entry_value longblob not null, create_revision bigint not null,
    mod_revision bigint not null) engine=InnoDB row_format=dynamic`,
  sql`create table if not exists rk8s_changes (
    revision bigint not null, seq integer not null, entry_key varbinary(1200) not null, entry_value longblob,
    attempt binary(16) not null, primary key (revision, seq)) engine=InnoDB row_format=dynamic`,
];
