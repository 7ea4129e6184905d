import { inspect } from "node:util";

import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";

import { isAnswer, isPassing, sqlError } from "./sql-error.js";

const postgres = (code: string, severity = "ERROR"): Error =>
  Object.assign(new Error("text"), { code, severity, detail: "Key (entry_key)=(secret)" });
const mysql = (errno: number, fatal?: boolean): Error =>
  Object.assign(new Error("text"), { errno, code: "ER_X", sqlState: "HY000", fatal, sql: "insert secret" });
const system = (code: string): Error => Object.assign(new Error("text"), { code, errno: -1 });

test.each([
  { name: "a full disk of PostgreSQL", reason: postgres("53100"), code: "STORAGE_FULL", passing: false },
  { name: "a full disk of MariaDB", reason: mysql(1114), code: "STORAGE_FULL", passing: false },
  { name: "a standby", reason: postgres("25006"), code: "STORAGE_UNWRITABLE", passing: false },
  { name: "a read-only MariaDB", reason: mysql(1290), code: "STORAGE_UNWRITABLE", passing: false },
  { name: "a wrong password", reason: postgres("28P01", "FATAL"), code: "PERMISSION_DENIED", passing: false },
  { name: "a wrong password of MariaDB", reason: mysql(1045), code: "PERMISSION_DENIED", passing: false },
  { name: "a missing grant", reason: postgres("42501"), code: "PERMISSION_DENIED", passing: false },
  { name: "a missing database", reason: postgres("3D000", "FATAL"), code: "CONFIG_INVALID", passing: false },
  { name: "damage", reason: postgres("XX001"), code: "STORAGE_CORRUPT", passing: false },
  { name: "a deadlock", reason: postgres("40P01"), code: "UNAVAILABLE", passing: true },
  { name: "a deadlock of MariaDB", reason: mysql(1213), code: "UNAVAILABLE", passing: true },
  { name: "a server that starts", reason: postgres("57P03", "FATAL"), code: "UNAVAILABLE", passing: true },
  { name: "a server that stops", reason: mysql(1053), code: "UNAVAILABLE", passing: true },
  { name: "no free connection", reason: mysql(1040), code: "UNAVAILABLE", passing: true },
  { name: "a statement that took too long", reason: postgres("57014"), code: "TIMED_OUT", passing: true },
  { name: "nobody there", reason: system("ECONNREFUSED"), code: "UNREACHABLE", passing: true },
  { name: "a broken connection", reason: system("ECONNRESET"), code: "CONNECTION_LOST", passing: true },
  {
    name: "an end without a code",
    reason: new Error("Connection terminated unexpectedly"),
    code: "CONNECTION_LOST",
    passing: true,
  },
  {
    name: "a wrong name in the certificate",
    reason: system("ERR_TLS_CERT_ALTNAME_INVALID"),
    code: "SERVER_UNTRUSTED",
    passing: false,
  },
  { name: "what nobody expects", reason: postgres("42601"), code: "INTERNAL", passing: false },
])("$name is $code", ({ reason, code, passing }) => {
  const error = sqlError('PostgreSQL at "db:5432"', reason);
  expect(error.code).toBe(code);
  expect(error.message).toContain('"db:5432"');
  expect(error.suggestion).toBeTruthy();
  expect(isPassing(error)).toBe(passing);
  expect(inspect(error, { depth: 9 })).not.toContain("secret");
});

test("an error of ours stays what it is", () => {
  const error = new RksError("BUSY", "too many");
  expect(sqlError("db", error)).toBe(error);
});

test("a session goes on after an answer only", () => {
  expect(isAnswer(postgres("23505"))).toBe(true);
  expect(isAnswer(mysql(1213))).toBe(true);
  expect(isAnswer(postgres("57P01", "FATAL"))).toBe(false);
  expect(isAnswer(mysql(1045, true))).toBe(false);
  expect(isAnswer(system("ECONNRESET"))).toBe(false);
  expect(isAnswer(new RksError("TIMED_OUT", "slow"))).toBe(false);
});
