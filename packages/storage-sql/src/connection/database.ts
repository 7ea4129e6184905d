import { RksError } from "@rk8s/protocol";
import type { Clock } from "@rk8s/protocol";
import {
  Kysely,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from "kysely";
import type { CompiledQuery, DatabaseConnection, Dialect, Driver, QueryResult } from "kysely";

import { openMysqlSession } from "./mysql-session.js";
import { openPostgresSession } from "./postgres-session.js";
import { SessionPool } from "./session-pool.js";
import type { SqlSchema } from "../schema.js";
import type { Session, SessionOptions } from "./session.js";
import type { SqlTarget } from "../sql-target.js";

/** Our tables, and the statements that the query builder makes for them. */
export type Database = Kysely<SqlSchema>;

export interface DatabaseInit {
  readonly maxSessions: number;
  readonly statementMs: number;
}

/** COMMIT failed: whether the transaction was applied is not known. */
export class LostCommit extends RksError {
  constructor(cause: RksError) {
    super("CONNECTION_LOST", cause.message, { suggestion: cause.suggestion, cause });
  }
}

/** Open a session with the target's kind of server. */
export function openSession(target: SqlTarget, options: SessionOptions): Promise<Session> {
  return target.engine === "postgres"
    ? openPostgresSession(target, options)
    : openMysqlSession(target, options);
}

/**
 * The database behind a target. Nothing is opened before the first statement. A transaction whose COMMIT fails throws
 * `LostCommit`, and its session is ended at once.
 */
export function openDatabase(target: SqlTarget, init: DatabaseInit, clock: Clock): Database {
  const { maxSessions, statementMs } = init;
  const pool = new SessionPool(
    { maxSessions, waitMs: statementMs },
    { clock, open: () => openSession(target, { clock, statementMs }) },
  );
  return new Kysely<SqlSchema>({ dialect: dialect(target, new PoolDriver(pool)) });
}

function dialect({ engine }: SqlTarget, driver: Driver): Dialect {
  return engine === "postgres"
    ? {
        createDriver: () => driver,
        createAdapter: () => new PostgresAdapter(),
        createIntrospector: (db) => new PostgresIntrospector(db),
        createQueryCompiler: () => new PostgresQueryCompiler(),
      }
    : {
        createDriver: () => driver,
        createAdapter: () => new MysqlAdapter(),
        createIntrospector: (db) => new MysqlIntrospector(db),
        createQueryCompiler: () => new MysqlQueryCompiler(),
      };
}

class LentSession implements DatabaseConnection {
  readonly session: Session;

  constructor(session: Session) {
    this.session = session;
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    return { rows: (await this.session.query(sql, parameters)) as R[] };
  }

  streamQuery(): never {
    throw new TypeError("rows are not streamed");
  }
}

class PoolDriver implements Driver {
  readonly #pool: SessionPool;

  constructor(pool: SessionPool) {
    this.#pool = pool;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<LentSession> {
    return new LentSession(await this.#pool.acquire());
  }

  async beginTransaction({ session }: LentSession): Promise<void> {
    await session.query("begin");
  }

  async commitTransaction({ session }: LentSession): Promise<void> {
    try {
      await session.query("commit");
    } catch (reason) {
      session.abort();
      throw new LostCommit(RksError.from(reason));
    }
  }

  /** Does not throw: what led here says more, and a session that cannot roll back is ended, which does the same. */
  async rollbackTransaction({ session }: LentSession): Promise<void> {
    if (!session.isOpen) return;
    try {
      await session.query("rollback");
    } catch {
      session.abort();
    }
  }

  releaseConnection({ session }: LentSession): Promise<void> {
    this.#pool.release(session);
    return Promise.resolve();
  }

  destroy(): Promise<void> {
    this.#pool.close();
    return Promise.resolve();
  }
}
