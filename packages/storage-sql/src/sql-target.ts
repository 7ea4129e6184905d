import { isIP } from "node:net";

import { nearestWord, RksError, Secret } from "@rk8s/protocol";

export interface SqlStorageInit {
  /**
   * `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, or `mysql://…` or `mariadb://…` of the same form. User, password and
   * database are percent-encoded. `?socket=/path` takes a unix socket instead of host and port: for PostgreSQL the folder that
   * holds it, for the others the socket itself. The text is secret as soon as it holds a password.
   */
  readonly url: string;
  /** Without it the connection is plain, which is refused unless the server is on this machine. */
  readonly tls?: SqlTls | undefined;
}

/** TLS 1.2 or newer; the server's certificate must chain to `ca` and name the URL's host. */
export interface SqlTls {
  /** Certificates (PEM) that the server's chain may end in; the system's are not used. */
  readonly ca: string;
  /** Certificate chain (PEM) that this client shows. */
  readonly certificate?: string | undefined;
  /** Its private key (PEM). */
  readonly key?: string | undefined;
}

/** A parsed and checked `SqlStorageInit`. */
export interface SqlTarget {
  readonly engine: "postgres" | "mysql";
  readonly host: string;
  readonly port: number;
  readonly socket: string | undefined;
  readonly user: string;
  readonly password: Secret<string>;
  readonly database: string;
  readonly tls: SqlTls | undefined;
}

const ENGINES: Readonly<Record<string, Pick<SqlTarget, "engine" | "port">>> = {
  "postgres:": { engine: "postgres", port: 5432 },
  "postgresql:": { engine: "postgres", port: 5432 },
  "mysql:": { engine: "mysql", port: 3306 },
  "mariadb:": { engine: "mysql", port: 3306 },
};

const FORM = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/**
 * Read where the database is. No error names the URL: it holds a password.
 * @throws {RksError} CONFIG_INVALID when the URL cannot be used, or is plain to another machine.
 */
export function parseSqlTarget(init: SqlStorageInit): SqlTarget {
  const url = parse(init.url);
  const engine = ENGINES[url.protocol];
  if (engine === undefined) {
    throw invalid(`the SQL url begins with "${url.protocol}", expected "postgres:", "mysql:" or "mariadb:"`);
  }
  const target: SqlTarget = {
    engine: engine.engine,
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? engine.port : Number(url.port),
    socket: socketOf(url),
    user: decoded("user", url.username),
    password: new Secret(decoded("password", url.password)),
    database: decoded("database", url.pathname.slice(1)),
    tls: init.tls,
  };
  if (target.host === "") throw invalid("the SQL url names no host");
  if (target.user === "") throw invalid("the SQL url names no user");
  if (!/^[^/\0]+$/.test(target.database)) throw invalid("the SQL url names no database");
  assertTransport(target);
  return target;
}

/** The server as messages name it, in quotes where the address is. */
export function serverName(target: SqlTarget): string {
  const kind = target.engine === "postgres" ? "PostgreSQL" : "MariaDB or MySQL";
  const host = isIP(target.host) === 6 ? `[${target.host}]` : target.host;
  return `${kind} at "${target.socket ?? `${host}:${target.port}`}"`;
}

/** Whether the connection leaves neither this machine nor the kernel. */
function isLocal({ socket, host }: SqlTarget): boolean {
  return socket !== undefined || host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

function parse(text: string): URL {
  try {
    return new URL(text);
  } catch {
    // Not as a cause: Node's error holds the whole text.
    throw invalid("the SQL url is not a URL");
  }
}

function socketOf(url: URL): string | undefined {
  let socket: string | undefined;
  for (const [name, value] of url.searchParams) {
    if (name !== "socket") {
      const meant = nearestWord(name, ["socket"]) ?? "socket";
      throw invalid(`the SQL url has the unknown parameter "${name}", did you mean "${meant}"`);
    }
    if (!value.startsWith("/"))
      throw invalid(`the SQL url's socket is "${value}", expected an absolute path`);
    socket = value;
  }
  return socket;
}

function decoded(what: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`the ${what} in the SQL url is not percent-encoded`);
  }
}

function assertTransport(target: SqlTarget): void {
  if (target.tls === undefined) {
    if (isLocal(target)) return;
    throw new RksError("CONFIG_INVALID", `the connection to ${serverName(target)} would not be encrypted`, {
      suggestion: "Set tls with the CA of the server's certificate; plain connections stay on one machine.",
    });
  }
  if (target.socket !== undefined) throw invalid("the SQL url names a socket, which has no TLS");
  if ((target.tls.certificate === undefined) !== (target.tls.key === undefined)) {
    throw invalid("tls for SQL has a certificate without a key, or a key without a certificate");
  }
}

function invalid(message: string): RksError {
  return new RksError("CONFIG_INVALID", message, {
    suggestion: `Write it as ${FORM}, with special characters percent-encoded.`,
  });
}
