import { rootCertificates } from "node:tls";
import { inspect } from "node:util";

import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";

import { parseSqlTarget, serverName } from "./sql-target.js";

const tls = { ca: rootCertificates[0] ?? "" };

test("a url's parts are decoded, and the port is the engine's own", async () => {
  const target = await parseSqlTarget({ url: "postgres://r%40ks:p%2Fw%3A@db.example/state%20of", tls });
  expect(target).toMatchObject({
    engine: "postgres",
    host: "db.example",
    port: 5432,
    socket: undefined,
    user: "r@ks",
    database: "state of",
  });
  expect(target.password.reveal()).toBe("p/w:");
  expect(await parseSqlTarget({ url: "mariadb://u@[::1]:1/d" })).toMatchObject({
    engine: "mysql",
    host: "::1",
    port: 1,
  });
  expect(await parseSqlTarget({ url: "mysql://u@localhost/d" })).toMatchObject({ port: 3306 });
});

test.each([
  { url: "postgres://u@db:1/d", name: 'PostgreSQL at "db:1"' },
  { url: "mysql://u@[fe80::1]/d", name: 'MariaDB or MySQL at "[fe80::1]:3306"' },
])("$url is called $name", async ({ url, name }) => {
  expect(serverName(await parseSqlTarget({ url, tls }))).toBe(name);
});

test("a server behind a socket is called by it", async () => {
  const target = await parseSqlTarget({ url: "postgres://u@localhost/d?socket=/run/postgresql" });
  expect(serverName(target)).toBe('PostgreSQL at "/run/postgresql"');
});

test.each(["localhost", "127.0.0.1", "127.8.9.10", "[::1]"])(
  "plain connections may go to %s",
  async (host) => {
    expect(await parseSqlTarget({ url: `postgres://u@${host}/d` })).toMatchObject({
      host: host.replace(/[[\]]/g, ""),
      tls: undefined,
    });
  },
);

const SECRET = "hunter2";
test.each([
  { name: "no url at all", url: `u:${SECRET}@db` },
  { name: "another kind of url", url: `https://u:${SECRET}@db/d` },
  { name: "no host", url: `postgres:///d?x=${SECRET}` },
  { name: "no user", url: "postgres://localhost/d" },
  { name: "no database", url: `postgres://u:${SECRET}@localhost` },
  { name: "a path for a database", url: `postgres://u:${SECRET}@localhost/a/b` },
  { name: "a password that is not encoded", url: `postgres://u:${SECRET}%@localhost/d` },
  { name: "an unknown parameter", url: `postgres://u:${SECRET}@localhost/d?sslmode=disable` },
  { name: "a CA file that is not there", url: `postgres://u:${SECRET}@db/d?ca_file=/nowhere/ca.pem` },
  { name: "a CA file without a certificate", url: `postgres://u:${SECRET}@db/d?ca_file=/etc/hostname` },
  { name: "a CA in the url and beside it", url: `postgres://u:${SECRET}@db/d?ca_file=/etc/hostname`, tls },
  { name: "a key file without a CA", url: `postgres://u:${SECRET}@db/d?key_file=/etc/hostname` },
  {
    name: "a certificate that is none",
    url: `postgres://u:${SECRET}@db/d`,
    tls: { ...tls, certificate: "-", key: "-" },
  },
  { name: "a relative socket", url: `postgres://u:${SECRET}@localhost/d?socket=run` },
  { name: "a plain connection to another machine", url: `postgres://u:${SECRET}@db.example/d` },
  {
    name: "a plain connection to a name that begins like this machine's",
    url: `postgres://u:${SECRET}@127.evil.example/d`,
  },
  { name: "TLS on a socket", url: `postgres://u:${SECRET}@localhost/d?socket=/run`, tls },
  {
    name: "a certificate without a key",
    url: `postgres://u:${SECRET}@db/d`,
    tls: { ...tls, certificate: "PEM" },
  },
])("$name is refused without its password", async ({ url, tls: given }) => {
  let error: unknown;
  try {
    await parseSqlTarget({ url, tls: given });
  } catch (reason) {
    error = reason;
  }
  expect(error).toBeInstanceOf(RksError);
  expect(error).toMatchObject({ code: "CONFIG_INVALID" });
  expect(inspect(error, { depth: 9 })).not.toContain(SECRET);
});

test("a parsed target does not show its password", async () => {
  const target = await parseSqlTarget({ url: `postgres://u:${SECRET}@localhost/d` });
  expect(inspect(target, { depth: 9 })).not.toContain(SECRET);
  expect(JSON.stringify(target)).not.toContain(SECRET);
});
