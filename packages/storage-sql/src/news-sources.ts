import type { Clock, Logger } from "@rk8s/protocol";

import { CHANNEL } from "./commit-batch.js";
import { openSession } from "./connection/database.js";
import type { Database } from "./connection/database.js";
import type { News } from "./news.js";
import type { SqlTarget } from "./sql-target.js";

/** How long others' writes stay unnoticed at most, where nothing wakes us: one small read each time, while somebody watches. */
const POLL_MS = 250;
/** Between two attempts to listen. */
const LISTEN_AGAIN_MS = 1000;
/** A session that waits for notifications sends nothing by itself, so it is asked now and then whether it is alive. */
const LISTEN_CHECK_MS = 5000;
const STATEMENT_MS = 2000;

/** Look again and again at which revision the store is. Ends when `signal` is aborted, and only then. */
export async function pollForNews(
  news: News,
  { db, clock, signal }: { readonly db: Database; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  while (await paused(clock, POLL_MS, signal)) {
    if (!news.isAwaited) continue;
    try {
      const row = await db.selectFrom("rk8s_store").select("revision").executeTakeFirst();
      if (row !== undefined) news.found(Number(row.revision));
    } catch {
      // The server is away; whoever reads or writes says so.
    }
  }
}

/** Have PostgreSQL tell of each commit. Without it, or until it works again, polling does. Ends as `pollForNews` does. */
export async function listenForNews(
  news: News,
  target: SqlTarget,
  { clock, logger, signal }: { readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  do {
    try {
      await listenOnce(news, target, { clock, signal });
    } catch (reason) {
      logger.debug("Not listening for changes of the SQL storage", { reason: String(reason) });
    }
  } while (await paused(clock, LISTEN_AGAIN_MS, signal));
}

async function listenOnce(
  news: News,
  target: SqlTarget,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const session = await openSession(target, {
    clock,
    statementMs: STATEMENT_MS,
    onNotification: (payload) => news.committed(Number(payload)),
  });
  try {
    await session.query(`listen ${CHANNEL}`);
    // What was committed before this session listened.
    news.wake();
    while (await paused(clock, LISTEN_CHECK_MS, signal)) await session.query("select 1");
  } finally {
    session.close();
  }
}

/** False as soon as `signal` is aborted. */
async function paused(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(ms, { signal, background: true });
    return true;
  } catch {
    return false;
  }
}
