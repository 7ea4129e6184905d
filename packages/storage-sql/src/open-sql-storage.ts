import type { Clock, Logger } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";

import { openDatabase } from "./connection/database.js";
import { ensureTables } from "./migration.js";
import { News } from "./news.js";
import { listenForNews, pollForNews } from "./news-sources.js";
import { assertServerSettings } from "./server-settings.js";
import { SqlStorage } from "./sql-storage.js";
import { parseSqlTarget, serverName } from "./sql-target.js";
import { WriteQueue } from "./write-queue.js";
import type { SqlAddress, SqlTarget } from "./sql-target.js";

export interface SqlStorageInit extends SqlAddress {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Sessions for reading; with the writer and, on PostgreSQL, the listener at most six at a time, seven while it is opened. */
const MAX_READERS = 4;
/** How long one statement may take, also by the server's watch. */
const STATEMENT_MS = 2000;
/** Making the tables takes longer where the disk is slow, and others may be at it. */
const MIGRATION_STATEMENT_MS = 15_000;

/**
 * Open the storage in a database of PostgreSQL, MariaDB or MySQL, and make its tables when they are not there. Several processes
 * may have it open; each hears the others' writes within a quarter of a second, on PostgreSQL at once.
 * @throws {RksError} CONFIG_INVALID for a URL or a server setting that cannot be used, UNREACHABLE, SERVER_UNTRUSTED,
 * PERMISSION_DENIED, and what making the tables gives. No error holds the URL's password.
 */
export async function openSqlStorage(init: SqlStorageInit): Promise<Storage> {
  const { clock, logger } = init;
  const target = await parseSqlTarget(init);
  if (target.tls === undefined && target.socket === undefined) {
    logger.warn("The SQL connection is not encrypted", { server: serverName(target) });
  }
  await prepare(target, clock);
  const readers = openDatabase(target, { maxSessions: MAX_READERS, statementMs: STATEMENT_MS }, clock);
  const writer = openDatabase(target, { maxSessions: 1, statementMs: STATEMENT_MS }, clock);
  const news = new News();
  const queue = new WriteQueue(target, {
    db: writer,
    clock,
    logger,
    onCommitted: (revision) => news.committed(revision),
  });
  const stop = new AbortController();
  const { signal } = stop;
  const sources = [pollForNews(news, { db: readers, clock, signal })];
  if (target.engine === "postgres") sources.push(listenForNews(news, target, { clock, logger, signal }));
  return new SqlStorage({
    db: readers,
    queue,
    news,
    clock,
    async release() {
      stop.abort();
      await Promise.all([...sources, readers.destroy(), writer.destroy()]);
    },
  });
}

/** Once for each opening, on a session of its own that may take longer. */
async function prepare(target: SqlTarget, clock: Clock): Promise<void> {
  const db = openDatabase(target, { maxSessions: 1, statementMs: MIGRATION_STATEMENT_MS }, clock);
  try {
    await assertServerSettings(db, target);
    await ensureTables(db, target);
  } finally {
    await db.destroy();
  }
}
