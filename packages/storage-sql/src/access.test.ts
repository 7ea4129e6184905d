import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, chmod, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";

import { systemClock } from "@rk8s/host";
import { RksError } from "@rk8s/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";

import { openSession } from "./connection/database.js";
import { openSqlStorage } from "./open-sql-storage.js";
import { parseSqlTarget } from "./sql-target.js";
import { open, put, recordingLogger } from "./testing/open.js";
import { suiteOn } from "./testing/sql-suite.js";
import { TcpProxy } from "./testing/tcp-proxy.js";
import type { SqlServerInit } from "./testing/sql-server.js";

const SECRET = "s3cret-of";
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-tls-"));
  await chmod(folder, 0o755);
});
afterAll(() => rm(folder, { recursive: true }));

for (const kind of ["postgres", "mariadb"] as const) {
  suiteOn(
    kind,
    "who may come in, and on what terms",
    (server) => {
      const url = (): Promise<string> => server().newDatabase();
      const ca = (name: string): Promise<string> => readFile(join(folder, `${name}.crt`), "utf8");

      test("over TLS to a server that proves its address", async () => {
        await using storage = await open(await url(), { tls: { ca: await ca("ca") } });
        expect(await storage.transaction([], [put("a", "1")])).toEqual({ succeeded: true, revision: 1 });
      });

      test("over TLS to a server that proves its name", async () => {
        const named = (await url()).replace("127.0.0.1", "localhost");
        await using storage = await open(named, { tls: { ca: await ca("ca") } });
        expect(await storage.get("a")).toBeUndefined();
      });

      test("with the CA named by the url", async () => {
        await using storage = await open(`${await url()}?ca_file=${join(folder, "ca.crt")}`);
        expect(await storage.get("a")).toBeUndefined();
        await expect(open(`${await url()}?ca_file=${join(folder, "other-ca.crt")}`)).rejects.toMatchObject({
          code: "SERVER_UNTRUSTED",
        });
      });

      test("a server with a certificate of another CA is refused", async () => {
        const opening = open(await url(), { tls: { ca: await ca("other-ca") } });
        await expect(opening).rejects.toMatchObject({ code: "SERVER_UNTRUSTED" });
      });

      test("a server whose certificate names another address is refused", async () => {
        await using proxy = await TcpProxy.start(server().port, "127.0.0.2");
        const elsewhere = server()
          .urlBehind(await url(), proxy.port)
          .replace("127.0.0.1", "127.0.0.2");
        const opening = open(elsewhere, { tls: { ca: await ca("ca") } });
        await expect(opening).rejects.toMatchObject({ code: "SERVER_UNTRUSTED" });
      });

      test.each([
        {
          what: "wrong password",
          change: (good: string) => good.replace(SECRET, "wrong"),
          code: "PERMISSION_DENIED",
        },
        {
          what: "no password",
          change: (good: string) => good.replace(/:[^:@]+@/, "@"),
          code: "PERMISSION_DENIED",
        },
        {
          what: "unknown user",
          change: (good: string) => good.replace("//rks:", "//eve:"),
          code: "PERMISSION_DENIED",
        },
        { what: "unknown database", change: (good: string) => `${good}_x`, code: "CONFIG_INVALID" },
        {
          what: "port where nobody listens",
          change: (good: string) => good.replace(/:\d+\//, ":9/"),
          code: "UNREACHABLE",
        },
      ])("$what: $code, with the server's name and without the password", async ({ change, code }) => {
        const logger = recordingLogger();
        const error: unknown = await openSqlStorage({
          url: change(await url()),
          clock: systemClock,
          logger,
        }).then(
          (storage) => storage[Symbol.asyncDispose](),
          (reason: unknown) => reason,
        );
        expect(error).toBeInstanceOf(RksError);
        expect(error).toMatchObject({ code });
        expect((error as RksError).message).toContain("127.0.0.1:");
        expect(inspect([error, logger.lines], { depth: 9 })).not.toContain(SECRET);
        expect(logger.lines.join()).toContain("not encrypted");
      });

      test("the grants that the docs name are enough for a user of its own", async () => {
        const owned = await url();
        await (await open(owned))[Symbol.asyncDispose]();
        const user = kind === "postgres" ? "app" : "'app'@'127.0.0.1'";
        await asAdmin(
          owned,
          `create user ${user} ${kind === "postgres" ? "password" : "identified by"} 'small'`,
        );
        for (const table of ["rk8s_store", "rk8s_entries", "rk8s_changes"]) {
          await asAdmin(owned, `grant select, insert, update, delete on ${table} to ${user}`);
        }
        await using storage = await open(owned.replace(/\/\/[^@]+@/, "//app:small@"));
        expect(await storage.transaction([], [put("a", "1")])).toEqual({ succeeded: true, revision: 1 });
        expect((await storage.list("")).entries).toHaveLength(1);
      });

      test("tables of a newer version are refused", async () => {
        const newer = await url();
        await (await open(newer))[Symbol.asyncDispose]();
        await asAdmin(newer, "update rk8s_store set version = 2");
        await expect(open(newer)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
      });

      test("tables that were made halfway are completed", async () => {
        const half = await url();
        await (await open(half))[Symbol.asyncDispose]();
        await asAdmin(half, "delete from rk8s_store");
        await asAdmin(half, "drop table rk8s_changes");
        await using storage = await open(half);
        expect(await storage.transaction([], [put("a", "1")])).toEqual({ succeeded: true, revision: 1 });
      });

      test("a server that would lose what it acknowledged is refused, with the setting", async () => {
        const [name, bad, good] =
          kind === "postgres"
            ? ["fsync", "alter system set fsync = off", "alter system reset fsync"]
            : [
                "innodb_flush_log_at_trx_commit",
                "set global innodb_flush_log_at_trx_commit = 2",
                "set global innodb_flush_log_at_trx_commit = 1",
              ];
        const here = await url();
        await asAdmin(here, bad);
        await expect(open(here)).rejects.toMatchObject({
          code: "CONFIG_INVALID",
          message: expect.stringContaining(name) as string,
        });
        await asAdmin(here, good);
        await (await open(here))[Symbol.asyncDispose]();
      });
    },
    makeCertificates,
  );
}

/** One statement; PostgreSQL then also reads its configuration again, which takes until a new session sees it. */
async function asAdmin(url: string, statement: string): Promise<void> {
  const options = { clock: systemClock, statementMs: 5000 };
  const session = await openSession(await parseSqlTarget({ url }), options);
  await session.query(statement);
  const setting = /^alter system (set|reset) (\w+)/.exec(statement);
  if (setting !== null) {
    await session.query("select pg_reload_conf()");
    const wanted = setting[1] === "set" ? "off" : "on";
    for (let value = ""; value !== wanted;) {
      const rows = await session.query(`select current_setting('${setting[2]}') as value`);
      value = (rows[0] as { value: string }).value;
    }
  }
  session.close();
}

/** A CA, a certificate of it for 127.0.0.1 and localhost, and a CA that has nothing to do with them. */
async function makeCertificates(): Promise<SqlServerInit> {
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { stdio: "pipe" });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  for (const name of ["ca", "other-ca"]) {
    openssl(
      "req",
      "-x509",
      ...newKey,
      "-subj",
      `/CN=${name}`,
      "-keyout",
      at(`${name}.key`),
      "-out",
      at(`${name}.crt`),
    );
  }
  await writeFile(at("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  openssl("req", ...newKey, "-subj", "/CN=db", "-keyout", at("db.key"), "-out", at("db.csr"));
  openssl(
    ...["x509", "-req", "-in", at("db.csr"), "-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial"],
    ...["-days", "2", "-extfile", at("names"), "-out", at("db.crt")],
  );
  // The server reads it as another user; it is worth nothing outside of this test.
  await chmod(at("db.key"), 0o644);
  return { tls: { certificateFile: at("db.crt"), keyFile: at("db.key"), caFile: at("ca.crt") } };
}
