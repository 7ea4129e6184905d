import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ServerLife } from "./server-life.js";
import { freePort, runToEnd, ServerProcess, serverUser } from "./server-process.js";
import type { SqlServer, SqlServerInit } from "./sql-server.js";

const USER = "rks";
const PASSWORD = "s3cret-of/rks";
const SERVER = "/usr/sbin/mariadbd";

/** What is missing to start MariaDB here. */
export function missingForMariadb(): string | undefined {
  const runs = [
    [SERVER, "--version"],
    ["mariadb-install-db", "--help"],
  ] as const;
  const isThere = runs.every(
    ([program, arg]) => spawnSync(program, [arg], { stdio: "ignore" }).error === undefined,
  );
  return isThere ? undefined : "mariadb-server";
}

/** Start MariaDB in a new folder. */
export async function startMariadb({ tls }: SqlServerInit): Promise<SqlServer> {
  const user = serverUser("mysql");
  const folder = await mkdtemp(join(tmpdir(), "rks-my-"));
  await user.own(folder);
  const data = join(folder, "data");
  const socket = join(folder, "sock");
  runToEnd(
    "mariadb-install-db",
    [
      ...["--no-defaults", `--datadir=${data}`, `--tmpdir=${folder}`, "--skip-test-db"],
      "--auth-root-authentication-method=normal",
    ],
    { ...user.options, cwd: folder },
  );
  const port = await freePort();
  const args = [
    ...["--no-defaults", `--datadir=${data}`, `--tmpdir=${folder}`, `--socket=${socket}`],
    ...[`--port=${port}`, "--bind-address=127.0.0.1", `--pid-file=${join(folder, "pid")}`],
    "--skip-name-resolve",
    ...(tls === undefined
      ? []
      : [`--ssl-cert=${tls.certificateFile}`, `--ssl-key=${tls.keyFile}`, `--ssl-ca=${tls.caFile}`]),
  ];
  const begin = (): Promise<ServerProcess> =>
    ServerProcess.start(SERVER, args, {
      ready: /ready for connections/,
      options: { ...user.options, cwd: folder },
    });
  const process = await begin();
  const asRoot = async (...statements: string[]): Promise<void> => {
    const { createConnection } = await import("mysql2/promise");
    const connection = await createConnection({ socketPath: socket, user: "root" });
    for (const statement of statements) await connection.query(statement);
    await connection.end();
  };
  await asRoot(
    `create user '${USER}'@'127.0.0.1' identified by '${PASSWORD}'`,
    `grant all on *.* to '${USER}'@'127.0.0.1' with grant option`,
  );
  return new ServerLife({
    port,
    begin,
    process,
    urlOf: (database) => `mariadb://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/${database}`,
    createDatabase: (name) => asRoot(`create database ${name}`),
    remove: () => rm(folder, { recursive: true, force: true }),
  });
}
