import { RksError } from "@rk8s/protocol";
import { sql } from "kysely";

import { MAX_STATEMENT_BYTES } from "./chunks.js";
import { serverName } from "./sql-target.js";
import type { Database } from "./connection/database.js";
import type { SqlTarget } from "./sql-target.js";

/** Values travel to MariaDB as hexadecimal digits, and a statement may be one value over its limit. */
const NEEDED_PACKET_BYTES = 4 * MAX_STATEMENT_BYTES;

/**
 * Check that the server keeps what it acknowledged through the loss of power, and takes statements of the size that we send.
 * What is changed while the server runs is not noticed.
 * @throws {RksError} CONFIG_INVALID with the setting to change
 */
export async function assertServerSettings(db: Database, target: SqlTarget): Promise<void> {
  const check = target.engine === "postgres" ? postgresSettings : mysqlSettings;
  for (const { name, value, isGood, wanted } of await check(db)) {
    if (isGood) continue;
    throw new RksError(
      "CONFIG_INVALID",
      `${serverName(target)} runs with ${name} = ${value}, so that it may lose or refuse what rks stores`,
      { suggestion: `Set ${name} = ${wanted} in the server's configuration and start it again.` },
    );
  }
}

interface Setting {
  readonly name: string;
  readonly value: string;
  readonly isGood: boolean;
  readonly wanted: string;
}

/** `synchronous_commit` is missing here: every session of ours turns it on for itself. */
async function postgresSettings(db: Database): Promise<readonly Setting[]> {
  const { rows } = await sql<{ fsync: string; pages: string }>`
    select current_setting('fsync') as fsync, current_setting('full_page_writes') as pages`.execute(db);
  const { fsync = "", pages = "" } = rows[0] ?? {};
  return [
    { name: "fsync", value: fsync, isGood: fsync === "on", wanted: "on" },
    { name: "full_page_writes", value: pages, isGood: pages === "on", wanted: "on" },
  ];
}

/** With a binary log a commit is what the binary log says after a crash. */
async function mysqlSettings(db: Database): Promise<readonly Setting[]> {
  const { rows } = await sql<{ flush_log: number; log_bin: number; sync_log: number; packet: number }>`
    select @@global.innodb_flush_log_at_trx_commit as flush_log, @@global.log_bin as log_bin,
      @@global.sync_binlog as sync_log, @@global.max_allowed_packet as packet`.execute(db);
  const { flush_log = 0, log_bin = 0, sync_log = 0, packet = 0 } = rows[0] ?? {};
  return [
    {
      name: "innodb_flush_log_at_trx_commit",
      value: String(flush_log),
      isGood: flush_log === 1 || flush_log === 3,
      wanted: "1",
    },
    { name: "sync_binlog", value: String(sync_log), isGood: log_bin === 0 || sync_log === 1, wanted: "1" },
    {
      name: "max_allowed_packet",
      value: String(packet),
      isGood: packet >= NEEDED_PACKET_BYTES,
      wanted: "16777216",
    },
  ];
}
