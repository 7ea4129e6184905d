import { Socket } from "node:net";
import { checkServerIdentity } from "node:tls";
import type { ConnectionOptions } from "node:tls";

import type pg from "pg";

import { CONNECT_MS, DrivenSession, IDLE_IN_TRANSACTION_MS } from "./session.js";
import { sqlError } from "../sql-error.js";
import { serverName } from "../sql-target.js";
import type { Driven, Session, SessionOptions } from "./session.js";
import type { SqlTarget } from "../sql-target.js";

/**
 * Open a session with PostgreSQL whose commits are durable when they are answered.
 * @throws {RksError} UNREACHABLE, SERVER_UNTRUSTED, PERMISSION_DENIED or CONFIG_INVALID
 */
export async function openPostgresSession(target: SqlTarget, options: SessionOptions): Promise<Session> {
  const { default: postgres } = await import("pg");
  const socket = new Socket();
  const client = new postgres.Client({
    host: target.socket ?? target.host,
    port: target.port,
    user: target.user,
    // As a function, so that neither the environment nor ~/.pgpass are looked at when there is none.
    password: () => target.password.reveal(),
    database: target.database,
    ssl: tlsOptions(target) ?? false,
    stream: () => socket,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: "rks",
    keepAlive: true,
  });
  // Without a listener the end of an idle session would be the end of the process.
  client.on("error", () => socket.destroy());
  client.on("notification", ({ payload }) => options.onNotification?.(payload ?? ""));
  const session = new DrivenSession(target, driven(client, socket), options);
  try {
    await client.connect();
    await session.query(settings(options.statementMs));
    return session;
  } catch (reason) {
    session.abort();
    throw sqlError(serverName(target), reason);
  }
}

function driven(client: pg.Client, socket: Socket): Driven {
  return {
    socket,
    async run(text, parameters) {
      const { rows } = await client.query<Record<string, unknown>>(text, [...parameters]);
      return rows;
    },
    end() {
      client.end().catch(() => socket.destroy());
    },
  };
}

/** In one statement. `synchronous_commit` is only ever made safer; what waits for replicas stays. */
function settings(statementMs: number): string {
  return `select set_config('statement_timeout', '${statementMs}', false),
    set_config('idle_in_transaction_session_timeout', '${IDLE_IN_TRANSACTION_MS}', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('synchronous_commit', case current_setting('synchronous_commit')
      when 'off' then 'on' else current_setting('synchronous_commit') end, false)`;
}

function tlsOptions({ tls, host }: SqlTarget): ConnectionOptions | undefined {
  if (tls === undefined) return undefined;
  return {
    ca: tls.ca,
    ...(tls.certificate === undefined ? {} : { cert: tls.certificate }),
    ...(tls.key === undefined ? {} : { key: tls.key }),
    minVersion: "TLSv1.2",
    rejectUnauthorized: true,
    // Node does not know which host the socket belongs to when that is an address.
    checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate),
  };
}
