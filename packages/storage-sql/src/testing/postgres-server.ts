import { existsSync, readdirSync } from "node:fs";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort, runToEnd, ServerProcess, serverUser } from "./server-process.js";
import { ServerLife } from "./server-life.js";
import type { ServerUser } from "./server-process.js";
import type { SqlServer, SqlServerInit } from "./sql-server.js";

/** Where Debian keeps the programs of each version; they are not on the path. */
const VERSIONS = "/usr/lib/postgresql";
const USER = "rks";
const PASSWORD = "s3cret-of/rks";

/** What is missing to start PostgreSQL here. */
export function missingForPostgres(): string | undefined {
  return binaries() === undefined ? "postgresql" : undefined;
}

/** Start PostgreSQL in a new folder. */
export async function startPostgres({ tls }: SqlServerInit): Promise<SqlServer> {
  const bin = binaries() ?? "";
  const user = serverUser("postgres");
  const folder = await mkdtemp(join(tmpdir(), "rks-pg-"));
  await user.own(folder);
  const passwordFile = join(folder, "password");
  await writeFile(passwordFile, PASSWORD);
  await user.own(passwordFile);
  const data = join(folder, "data");
  runToEnd(
    join(bin, "initdb"),
    [
      ...["-D", data, "-U", USER, `--pwfile=${passwordFile}`, "--auth=scram-sha-256"],
      ...["-E", "UTF8", "--locale=C"],
    ],
    { ...user.options, cwd: folder },
  );
  if (tls !== undefined) await copyTls(tls, data, user);
  const port = await freePort();
  const args = [
    ...["-D", data, "-p", String(port), "-c", "listen_addresses=127.0.0.1"],
    ...["-c", `unix_socket_directories=${folder}`, "-c", "log_destination=stderr"],
    ...(tls === undefined ? [] : ["-c", "ssl=on", "-c", "ssl_ca_file=ca.crt"]),
  ];
  const begin = (): Promise<ServerProcess> =>
    ServerProcess.start(join(bin, "postgres"), args, {
      ready: /ready to accept connections/,
      options: { ...user.options, cwd: folder },
    });
  return new ServerLife({
    port,
    begin,
    process: await begin(),
    urlOf: (database) => `postgres://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/${database}`,
    async createDatabase(name) {
      const { default: pg } = await import("pg");
      const client = new pg.Client({
        host: "127.0.0.1",
        port,
        user: USER,
        password: PASSWORD,
        database: "postgres",
      });
      await client.connect();
      await client.query(`create database ${name}`);
      await client.end();
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  });
}

/** The folder with the newest version's programs. */
function binaries(): string | undefined {
  if (!existsSync(VERSIONS)) return undefined;
  return readdirSync(VERSIONS)
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(VERSIONS, version, "bin"))
    .find((bin) => existsSync(join(bin, "postgres")) && existsSync(join(bin, "initdb")));
}

/** The key must be the server's own and closed to others. */
async function copyTls(
  tls: NonNullable<SqlServerInit["tls"]>,
  data: string,
  user: ServerUser,
): Promise<void> {
  const files = [
    [tls.certificateFile, "server.crt"],
    [tls.keyFile, "server.key"],
    [tls.caFile, "ca.crt"],
  ] as const;
  for (const [from, name] of files) {
    const to = join(data, name);
    await copyFile(from, to);
    runToEnd("chmod", ["0600", to], {});
    await user.own(to);
  }
}
