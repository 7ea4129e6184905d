import { startMariadb, missingForMariadb } from "./mariadb-server.js";
import { startPostgres, missingForPostgres } from "./postgres-server.js";

export type SqlServerKind = "postgres" | "mariadb";

/** A real database server in a temporary folder, on 127.0.0.1 only. */
export interface SqlServer extends AsyncDisposable {
  readonly port: number;
  /** URL of a new, empty database, with a user that may do everything in it. */
  newDatabase(): Promise<string>;
  /** The same database under another port, for a proxy before the server. */
  urlBehind(url: string, port: number): string;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Start it again after `kill`, on the same files and port. */
  restart(): Promise<void>;
  /** It neither answers nor ends, until `resume`. */
  pause(): Promise<void>;
  resume(): Promise<void>;
}

export interface SqlServerInit {
  /** PEM files that the server offers TLS with. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string; readonly caFile: string };
}

/** What a server of this kind needs and this machine has not; undefined when it can be started. */
export function missingFor(kind: SqlServerKind): string | undefined {
  return kind === "postgres" ? missingForPostgres() : missingForMariadb();
}

/** Start a server of its own, with its defaults, so that what it acknowledges is on disk. */
export function startSqlServer(kind: SqlServerKind, init: SqlServerInit = {}): Promise<SqlServer> {
  return kind === "postgres" ? startPostgres(init) : startMariadb(init);
}
