import { connect } from "node:net";
import type { Socket } from "node:net";

import type { Connection, SslOptions } from "mysql2";

import { CONNECT_MS, DrivenSession, IDLE_IN_TRANSACTION_MS } from "./session.js";
import { sqlError } from "../sql-error.js";
import { serverName } from "../sql-target.js";
import type { Driven, Session, SessionOptions } from "./session.js";
import type { SqlTarget } from "../sql-target.js";

/**
 * Open a session with MariaDB or MySQL.
 * @throws {RksError} UNREACHABLE, SERVER_UNTRUSTED, PERMISSION_DENIED or CONFIG_INVALID
 */
export async function openMysqlSession(target: SqlTarget, options: SessionOptions): Promise<Session> {
  const { createConnection } = await import("mysql2");
  const socket =
    target.socket === undefined ? connect(target.port, target.host) : connect({ path: target.socket });
  // Node compares the certificate with this when TLS gets no name to ask for, as for an address, and else with "localhost".
  Object.assign(socket, { _host: target.host });
  socket.setNoDelay(true);
  socket.setKeepAlive(true);
  // The driver listens too; this one is there before it and stays after it.
  socket.on("error", () => socket.destroy());
  const connection = createConnection({
    host: target.host,
    stream: () => socket,
    user: target.user,
    password: target.password.reveal(),
    database: target.database,
    ...(target.tls === undefined ? {} : { ssl: tlsOptions(target) }),
    connectTimeout: CONNECT_MS,
  });
  const session = new DrivenSession(target, driven(connection, socket), options);
  try {
    await connected(connection);
    const [row] = (await session.query("select version() as version")) as [{ readonly version: string }];
    await session.query(settings(row.version, options.statementMs));
    return session;
  } catch (reason) {
    session.abort();
    throw sqlError(serverName(target), reason);
  }
}

/** The driver says that an idle session ended by an event, which without a listener would end the process. */
function connected(connection: Connection): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.on("error", reject);
    connection.once("connect", () => resolve());
  });
}

function driven(connection: Connection, socket: Socket): Driven {
  return {
    socket,
    run(text, parameters) {
      return new Promise((resolve, reject) => {
        // Values are bytes and numbers only, which the driver writes as hexadecimal literals and digits.
        connection.query(text, [...parameters], (error, rows) => {
          if (error === null) resolve(Array.isArray(rows) ? rows : []);
          else reject(error);
        });
      });
    },
    end() {
      connection.end(() => socket.destroy());
    },
  };
}

/** In one statement. Strict: without it a value that does not fit would be cut without an error. */
function settings(version: string, statementMs: number): string {
  const seconds = Math.ceil(statementMs / 1000);
  const common = `set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
    session autocommit = 1, session transaction_isolation = 'READ-COMMITTED', session innodb_lock_wait_timeout = ${seconds}`;
  // MySQL has neither; a reader's limit is all it has.
  return version.includes("MariaDB")
    ? `${common.replace("transaction_isolation", "tx_isolation")}, session max_statement_time = ${statementMs / 1000}, session idle_transaction_timeout = ${IDLE_IN_TRANSACTION_MS / 1000}`
    : `${common}, session max_execution_time = ${statementMs}`;
}

function tlsOptions({ tls }: SqlTarget): SslOptions {
  return {
    ca: tls?.ca ?? "",
    ...(tls?.certificate === undefined ? {} : { cert: tls.certificate }),
    ...(tls?.key === undefined ? {} : { key: tls.key }),
    minVersion: "TLSv1.2",
    rejectUnauthorized: true,
    verifyIdentity: true,
  };
}
