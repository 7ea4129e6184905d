/** What a code means to a program: may the same request be tried again, and how is it reported. */
export interface ErrorInfo {
  /** True when the same request may succeed later without anything being changed by the caller. */
  readonly retryable: boolean;
  /** HTTP status of an answer that carries the code. */
  readonly http: number;
  /** Exit code of a command that fails with the code (sysexits(3)); see docs/errors.md. */
  readonly exit: 64 | 65 | 69 | 70 | 75 | 77 | 78;
}

/** Every error code that can cross the wire or end a command. Codes are never renamed or reused. */
export const ERROR_CODES = {
  // — general
  INTERNAL: { retryable: false, http: 500, exit: 70 },
  USAGE_INVALID: { retryable: false, http: 400, exit: 64 },
  CONFIG_INVALID: { retryable: false, http: 400, exit: 78 },
  INPUT_INVALID: { retryable: false, http: 400, exit: 65 },
  UNSUPPORTED: { retryable: false, http: 501, exit: 78 },
  PERMISSION_DENIED: { retryable: false, http: 403, exit: 77 },
  NOT_FOUND: { retryable: false, http: 404, exit: 65 },
  ALREADY_EXISTS: { retryable: false, http: 409, exit: 65 },
  CONFLICT: { retryable: true, http: 409, exit: 75 },
  BUSY: { retryable: true, http: 429, exit: 75 },
  UNAVAILABLE: { retryable: true, http: 503, exit: 75 },
  ALREADY_RUNNING: { retryable: true, http: 409, exit: 75 },
  // — reaching the other side
  UNREACHABLE: { retryable: true, http: 502, exit: 69 },
  TIMED_OUT: { retryable: true, http: 504, exit: 69 },
  CONNECTION_LOST: { retryable: true, http: 502, exit: 69 },
  STREAM_RESET: { retryable: true, http: 502, exit: 69 },
  SERVER_UNTRUSTED: { retryable: false, http: 502, exit: 77 },
  SERVER_NAME_MISMATCH: { retryable: false, http: 502, exit: 77 },
  CA_PIN_MISMATCH: { retryable: false, http: 502, exit: 77 },
  CA_PIN_RETIRED: { retryable: false, http: 403, exit: 77 },
  CA_UNTRUSTED: { retryable: false, http: 502, exit: 77 },
  CLIENT_CERTIFICATE_REFUSED: { retryable: false, http: 403, exit: 77 },
  CLOCK_SKEW: { retryable: true, http: 400, exit: 75 },
  // — the wire
  FRAME_INVALID: { retryable: false, http: 400, exit: 65 },
  MESSAGE_INVALID: { retryable: false, http: 400, exit: 65 },
  MESSAGE_UNKNOWN: { retryable: false, http: 400, exit: 65 },
  MESSAGE_UNEXPECTED: { retryable: false, http: 400, exit: 65 },
  MESSAGE_TOO_LARGE: { retryable: false, http: 413, exit: 65 },
  MESSAGE_TRUNCATED: { retryable: true, http: 400, exit: 65 },
  VERSION_UNSUPPORTED: { retryable: false, http: 400, exit: 78 },
  // — join tokens
  JOIN_TOKEN_MALFORMED: { retryable: false, http: 400, exit: 65 },
  JOIN_TOKEN_INVALID: { retryable: false, http: 401, exit: 77 },
  JOIN_TOKEN_EXPIRED: { retryable: false, http: 401, exit: 77 },
  JOIN_TOKEN_USED: { retryable: false, http: 401, exit: 77 },
  JOIN_TOKEN_REVOKED: { retryable: false, http: 401, exit: 77 },
  JOIN_TOKEN_SCOPE: { retryable: false, http: 403, exit: 77 },
  NONCE_EXPIRED: { retryable: true, http: 401, exit: 75 },
  // — nodes and their certificates
  NODE_NAME_INVALID: { retryable: false, http: 400, exit: 65 },
  NODE_NAME_TAKEN: { retryable: false, http: 409, exit: 77 },
  NODE_BANNED: { retryable: false, http: 403, exit: 77 },
  NODE_EVICTED: { retryable: false, http: 403, exit: 77 },
  IDENTITY_LOST: { retryable: false, http: 403, exit: 77 },
  RECOVERY_REFUSED: { retryable: false, http: 403, exit: 77 },
  IDENTITY_CLONED: { retryable: false, http: 403, exit: 77 },
  CSR_INVALID: { retryable: false, http: 400, exit: 65 },
  KEY_TOO_WEAK: { retryable: false, http: 400, exit: 65 },
  CERTIFICATE_INVALID: { retryable: false, http: 400, exit: 65 },
  CRL_INVALID: { retryable: false, http: 400, exit: 65 },
  OCSP_INVALID: { retryable: false, http: 400, exit: 65 },
  CERTIFICATE_EXPIRED: { retryable: false, http: 403, exit: 77 },
  CERTIFICATE_REVOKED: { retryable: false, http: 403, exit: 77 },
  ROLE_REFUSED: { retryable: false, http: 400, exit: 77 },
  // — the cluster's CA
  CA_PHASE_INVALID: { retryable: false, http: 409, exit: 65 },
  // — vault
  VAULT_NOT_INITIALIZED: { retryable: false, http: 503, exit: 78 },
  VAULT_SEALED: { retryable: true, http: 503, exit: 75 },
  UNSEAL_KEY_INVALID: { retryable: false, http: 400, exit: 65 },
  // — storage
  STORAGE_FULL: { retryable: true, http: 507, exit: 75 },
  STORAGE_UNWRITABLE: { retryable: true, http: 507, exit: 75 },
  STORAGE_CORRUPT: { retryable: false, http: 500, exit: 70 },
  STORAGE_FOREIGN: { retryable: false, http: 409, exit: 78 },
  STORAGE_MOVED: { retryable: false, http: 409, exit: 78 },
  AUDIT_UNWRITABLE: { retryable: true, http: 507, exit: 75 },
  // — pods
  POD_INVALID: { retryable: false, http: 400, exit: 65 },
  RUNTIME_FAILED: { retryable: true, http: 500, exit: 70 },
} as const satisfies Record<string, ErrorInfo>;

/** One of the codes of `ERROR_CODES`. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Characters of `message` and `suggestion` in an `Error` message; see message.ts. */
export const MAX_WIRE_TEXT = 2048;

/** A join token, or the beginning of one. Whoever puts it where a name belongs must not find it in an error. */
const JOIN_TOKEN = /rkj1\.[\w-]*/g;

/** What an `RksError` may carry besides code and message. */
export interface RksErrorOptions {
  /** One imperative sentence that says what to do, with the command where there is one. */
  readonly suggestion?: string | undefined;
  /** The foreign error behind this one. It may be logged; it is never sent to a peer. */
  readonly cause?: unknown;
}

/** The body of an `Error` message and of an error answer over HTTP. */
export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly suggestion?: string | undefined;
  readonly retryable: boolean;
}

/**
 * The one error of rk8s: wrong data or state, with a closed code, a message that names the refused value and a
 * suggestion. Neither message nor suggestion ever holds a key, a token or a certificate's private parts; a join
 * token in either is blotted out. Wrong use of a function throws `TypeError` instead.
 */
export class RksError extends Error {
  override readonly name = "RksError";
  readonly code: ErrorCode;
  readonly suggestion: string | undefined;

  constructor(code: ErrorCode, message: string, options: RksErrorOptions = {}) {
    super(withoutTokens(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.suggestion = options.suggestion === undefined ? undefined : withoutTokens(options.suggestion);
  }

  /** Whether the same request may succeed later; a property of the code. */
  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }

  /** What the error's code means to a program. */
  get info(): ErrorInfo {
    return ERROR_CODES[this.code];
  }

  /**
   * What a peer or a `--json` reader gets to see: everything but the cause and the stack, cut to what an `Error`
   * message may hold.
   */
  toJSON(): WireError {
    return {
      code: this.code,
      message: sendable(this.message),
      ...(this.suggestion === undefined ? {} : { suggestion: sendable(this.suggestion) }),
      retryable: this.retryable,
    };
  }

  /** Turn anything thrown into an `RksError`; what is not one becomes `INTERNAL` with the original as cause. */
  static from(reason: unknown): RksError {
    if (reason instanceof RksError) return reason;
    return new RksError("INTERNAL", "an internal error occurred", {
      cause: reason,
      suggestion: "Please report this with the log around it.",
    });
  }

  /**
   * Rebuild an error that a peer sent. A code of a newer peer that this side does not know becomes UNAVAILABLE when the
   * peer calls it retryable and INTERNAL otherwise. Line breaks and control characters are replaced: the text may end on a terminal.
   */
  static fromWire(wire: WireError): RksError {
    const suggestion = wire.suggestion === undefined ? undefined : printable(wire.suggestion);
    if (isErrorCode(wire.code)) return new RksError(wire.code, printable(wire.message), { suggestion });
    const code: ErrorCode = wire.retryable ? "UNAVAILABLE" : "INTERNAL";
    return new RksError(code, printable(`${wire.message} (unknown code "${wire.code}")`), { suggestion });
  }
}

/** Whether a text is one of the codes of `ERROR_CODES`. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text);
}

function withoutTokens(text: string): string {
  return text.replaceAll(JOIN_TOKEN, "rkj1.[redacted]");
}

/** Text without half characters, of a length that an `Error` message may have. */
function sendable(text: string): string {
  return text.slice(0, MAX_WIRE_TEXT).replaceAll(/\p{Cs}/gu, "\ufffd");
}

/** The same in one line and without control characters. */
function printable(text: string): string {
  return sendable(text)
    .replaceAll(/[\t\n\u2028\u2029]+/g, " ")
    .replaceAll(/\p{Cc}/gu, "\ufffd");
}
