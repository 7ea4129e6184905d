import { isIP } from "node:net";

import { nearestWord, RksError, Secret } from "@rk8s/protocol";

import { assertTls, readTls } from "./tls.js";
import type { SqlTls } from "./tls.js";

/** Where the database is. */
export interface SqlAddress {
  /**
   * `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, or `mysql://…` or `mariadb://…` of the same form. User, password and
   * database are percent-encoded. `?socket=/path` takes a unix socket instead of host and port: for PostgreSQL the folder that
   * holds it, for the others the socket itself. `?ca_file=/path&cert_file=/path&key_file=/path` are `tls` in files, of which the
   * first is enough; they are read once. The text is secret as soon as it holds a password.
   */
  readonly url: string;
  /** Without it, and without files in the URL, the connection is plain, which is refused unless the server is on this machine. */
  readonly tls?: SqlTls | undefined;
}

/** A parsed and checked `SqlAddress`. */
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

const PARAMETERS = ["socket", "ca_file", "cert_file", "key_file"] as const;
type Parameter = (typeof PARAMETERS)[number];

const FORM = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/**
 * Read where the database is. No error names the URL: it holds a password.
 * @throws {RksError} CONFIG_INVALID when the URL cannot be used, or is plain to another machine.
 */
export async function parseSqlTarget(address: SqlAddress): Promise<SqlTarget> {
  const url = parse(address.url);
  const engine = ENGINES[url.protocol];
  if (engine === undefined) {
    throw invalid(`the SQL url begins with "${url.protocol}", expected "postgres:", "mysql:" or "mariadb:"`);
  }
  const paths = pathsIn(url);
  const target: SqlTarget = {
    engine: engine.engine,
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? engine.port : Number(url.port),
    socket: paths.get("socket"),
    user: decoded("user", url.username),
    password: new Secret(decoded("password", url.password)),
    database: decoded("database", url.pathname.slice(1)),
    tls: await tlsOf(address, paths),
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

function pathsIn(url: URL): ReadonlyMap<Parameter, string> {
  const paths = new Map<Parameter, string>();
  for (const [name, path] of url.searchParams) {
    const parameter = PARAMETERS.find((known) => known === name);
    if (parameter === undefined) {
      const meant = nearestWord(name, PARAMETERS) ?? PARAMETERS.join(" or ");
      throw invalid(`the SQL url has the unknown parameter "${name}", did you mean ${meant}`);
    }
    if (!path.startsWith("/")) {
      throw invalid(`${name} in the SQL url is "${path}", expected an absolute path`);
    }
    paths.set(parameter, path);
  }
  return paths;
}

async function tlsOf(
  { tls }: SqlAddress,
  paths: ReadonlyMap<Parameter, string>,
): Promise<SqlTls | undefined> {
  const [ca, certificate, key] = [paths.get("ca_file"), paths.get("cert_file"), paths.get("key_file")];
  if (ca !== undefined) {
    if (tls !== undefined) throw invalid("the SQL url names a ca_file, and tls is given as well");
    return readTls({ ca, certificate, key });
  }
  if (certificate !== undefined || key !== undefined) {
    throw invalid("the SQL url names a cert_file or a key_file without a ca_file");
  }
  return tls;
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
      suggestion: "Add ?ca_file=/path to the url, with the CA of the server's certificate (PEM).",
    });
  }
  if (target.socket !== undefined) throw invalid("the SQL url names a socket, which has no TLS");
  assertTls(target.tls);
}

function invalid(message: string): RksError {
  return new RksError("CONFIG_INVALID", message, {
    suggestion: `Write it as ${FORM}, with special characters percent-encoded.`,
  });
}
