import { RksError } from "@rk8s/protocol";
import type { ErrorCode } from "@rk8s/protocol";

interface Meaning {
  readonly code: ErrorCode;
  /** Goes after the server's name. */
  readonly problem: string;
  readonly suggestion: string;
}

const AWAY = "Start the database server or check the address; the request can then be tried again.";
const RETRY = "Try again in a moment.";
const LOGIN =
  "Check user, password and database in the url, what the server lets this user do, and whether it asks for TLS (?ca_file=).";
const DISK = "Free space on the disk of the database server; the request can then be tried again.";
const CERTIFICATE =
  "Set tls to the CA that issued the server's certificate, and the url's host to a name in it.";

const MEANINGS = {
  unreachable: { code: "UNREACHABLE", problem: "cannot be reached", suggestion: AWAY },
  lost: { code: "CONNECTION_LOST", problem: "ended the connection", suggestion: AWAY },
  slow: { code: "TIMED_OUT", problem: "did not answer in time", suggestion: RETRY },
  starting: { code: "UNAVAILABLE", problem: "takes no requests right now", suggestion: AWAY },
  crowded: {
    code: "UNAVAILABLE",
    problem: "has no free connection",
    suggestion: "Raise max_connections of the server; one rks holds at most 7.",
  },
  raced: { code: "UNAVAILABLE", problem: "gave up a transaction for another one", suggestion: RETRY },
  refused: { code: "PERMISSION_DENIED", problem: "refuses this user", suggestion: LOGIN },
  unknown: { code: "CONFIG_INVALID", problem: "has no such database", suggestion: LOGIN },
  untrusted: {
    code: "SERVER_UNTRUSTED",
    problem: "did not prove who it is, or does not speak TLS",
    suggestion: CERTIFICATE,
  },
  noTable: {
    code: "NOT_FOUND",
    problem: "has not all tables of rks",
    suggestion: "Let rks make them: drop the ones whose name begins with rk8s_ and start again.",
  },
  full: { code: "STORAGE_FULL", problem: "has no space left", suggestion: DISK },
  readOnly: {
    code: "STORAGE_UNWRITABLE",
    problem: "cannot be written",
    suggestion: "Name the primary server in the url, and check that its disk is writable.",
  },
  damaged: {
    code: "STORAGE_CORRUPT",
    problem: "found damage in its files",
    suggestion: "Check the disk and restore the database from a backup.",
  },
} as const satisfies Record<string, Meaning>;
type Kind = keyof typeof MEANINGS;

/** SQLSTATE of PostgreSQL (five characters, or the two of a class). */
const POSTGRES: Readonly<Record<string, Kind>> = {
  "08": "lost",
  "28": "refused",
  "40": "raced",
  "42501": "refused",
  "42P01": "noTable",
  "3D000": "unknown",
  "25006": "readOnly",
  "25P03": "lost",
  "53100": "full",
  "53200": "starting",
  "53300": "crowded",
  "53400": "starting",
  "55P03": "slow",
  "57014": "slow",
  "57P": "starting",
  "58030": "readOnly",
  XX001: "damaged",
  XX002: "damaged",
};

/** Error numbers of MariaDB and MySQL. */
const MYSQL: Readonly<Record<number, Kind>> = {
  1021: "full",
  1114: "full",
  1034: "damaged",
  1040: "crowded",
  1203: "crowded",
  1226: "crowded",
  1044: "refused",
  1045: "refused",
  1142: "refused",
  1143: "refused",
  1227: "refused",
  1698: "refused",
  1049: "unknown",
  1053: "starting",
  1077: "starting",
  1146: "noTable",
  1205: "raced",
  1213: "raced",
  1290: "readOnly",
  1792: "readOnly",
  1836: "readOnly",
  1317: "slow",
  1927: "lost",
  1969: "slow",
  3024: "slow",
  3026: "refused",
  3159: "untrusted",
  4031: "lost",
};

/** Codes of Node's network and TLS errors and of the drivers'. */
const SYSTEM: Readonly<Record<string, Kind>> = {
  ECONNREFUSED: "unreachable",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  ENOTFOUND: "unreachable",
  EAI_AGAIN: "unreachable",
  ENOENT: "unreachable",
  EACCES: "unreachable",
  ETIMEDOUT: "unreachable",
  ECONNRESET: "lost",
  EPIPE: "lost",
  PROTOCOL_CONNECTION_LOST: "lost",
  PROTOCOL_SEQUENCE_TIMEOUT: "slow",
  HANDSHAKE_NO_SSL_SUPPORT: "untrusted",
  HANDSHAKE_SSL_ERROR: "untrusted",
  DEPTH_ZERO_SELF_SIGNED_CERT: "untrusted",
  SELF_SIGNED_CERT_IN_CHAIN: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "untrusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "untrusted",
  CERT_HAS_EXPIRED: "untrusted",
  CERT_NOT_YET_VALID: "untrusted",
  CERT_SIGNATURE_FAILURE: "untrusted",
};

/** What pg says without a code. */
const TEXTS: readonly (readonly [RegExp, Kind])[] = [
  [/^timeout expired/, "unreachable"],
  [/^Connection terminated/, "lost"],
  [/closed state|not queryable|was closed and is not/, "lost"],
  [/does not support SSL|secure connection/, "untrusted"],
  [/^SASL|^SCRAM/, "refused"],
];

/**
 * Turn what a driver threw into an `RksError`; the one place where foreign SQL errors enter. Its cause has the
 * server's code and text and no statement: a statement holds values.
 */
export function sqlError(server: string, reason: unknown): RksError {
  if (reason instanceof RksError) return reason;
  const kind = kindOf(reason);
  const cause = withoutStatement(reason);
  if (kind === undefined) {
    return new RksError("INTERNAL", `${server} gave an answer that was not expected`, {
      suggestion: "Please report this with the log around it.",
      cause,
    });
  }
  const { code, problem, suggestion } = MEANINGS[kind];
  return new RksError(code, `${server} ${problem}`, { suggestion, cause });
}

/** Whether the server answered and the session goes on, as opposed to a session that is of no more use. */
export function isAnswer(reason: unknown): boolean {
  const { severity, sqlState, fatal } = fieldsOf(reason);
  return severity === "ERROR" || (typeof sqlState === "string" && fatal !== true);
}

/** Whether the same request may go through as soon as the server is back or less busy. */
export function isPassing(error: RksError): boolean {
  return PASSING.has(error.code);
}

const PASSING: ReadonlySet<ErrorCode> = new Set([
  "UNREACHABLE",
  "CONNECTION_LOST",
  "TIMED_OUT",
  "UNAVAILABLE",
]);

function kindOf(reason: unknown): Kind | undefined {
  const { code, errno, severity, sqlState, message } = fieldsOf(reason);
  if (severity !== undefined && typeof code === "string") {
    return POSTGRES[code] ?? POSTGRES[code.slice(0, 3)] ?? POSTGRES[code.slice(0, 2)];
  }
  if (sqlState !== undefined && typeof errno === "number") return MYSQL[errno];
  if (typeof code === "string") {
    if (code.startsWith("ERR_TLS") || code.startsWith("ERR_SSL")) return "untrusted";
    const kind = SYSTEM[code];
    if (kind !== undefined) return kind;
  }
  return TEXTS.find(([pattern]) => pattern.test(String(message)))?.[1];
}

/** mysql2 puts the whole statement beside its message, pg the refused row. */
function withoutStatement(reason: unknown): Error {
  const { code, errno, sqlState, message } = fieldsOf(reason);
  const facts = [code, errno, sqlState].filter((fact) => fact !== undefined).map(String);
  return new Error(`${String(message)} (${facts.join(", ")})`);
}

function fieldsOf(reason: unknown): Readonly<Record<string, unknown>> {
  const record = (typeof reason === "object" && reason !== null ? reason : {}) as Readonly<
    Record<string, unknown>
  >;
  const { code, errno, severity, sqlState, fatal, message } = record;
  return { code, errno, severity, sqlState, fatal, message };
}
