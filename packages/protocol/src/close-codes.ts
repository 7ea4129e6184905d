import { type ErrorCode, RksError } from "./errors.js";

/**
 * Application codes that close a connection. They say what the other side should think of it; the words are in the
 * reason. Codes are never reused.
 */
export const CLOSE_CODES = {
  /** A normal end: the one who closes has nothing more to say. */
  DONE: 0,
  /** Something broke on the closing side. */
  INTERNAL: 1,
  /** Too many connections; come back later. */
  BUSY: 2,
  /** The closing side stops or is sealed; come back later. */
  UNAVAILABLE: 3,
  /** The connection did something that its phase does not allow. */
  MESSAGE_UNEXPECTED: 4,
  /** A bootstrapping connection used up its time, or no stream was granted in time. */
  TIMED_OUT: 5,
  /** The certificate is not the current or next one of the node, or not one of ours. */
  CLIENT_CERTIFICATE_REFUSED: 6,
  CERTIFICATE_EXPIRED: 7,
  CERTIFICATE_REVOKED: 8,
  NODE_BANNED: 9,
  NODE_EVICTED: 10,
  /** Another connection of the same node or operator took over. */
  CONFLICT: 11,
  /** The operator's token was revoked. */
  JOIN_TOKEN_REVOKED: 12,
  /** Two processes use this node's identity; both are refused. */
  IDENTITY_CLONED: 13,
  /** The certificate's root was retired. */
  CA_PIN_RETIRED: 14,
} as const;
/** One of the names of `CLOSE_CODES`. */
export type CloseCode = keyof typeof CLOSE_CODES;

/**
 * What a connection's end means to whoever used it: the error of the peer's close code, CONNECTION_LOST for a code
 * that is unknown, a normal end or none. Control characters of the reason are replaced.
 */
export function closeError(code: number | undefined, reason: string): RksError {
  const known = (Object.keys(CLOSE_CODES) as CloseCode[]).find((name) => CLOSE_CODES[name] === code);
  const errorCode: ErrorCode = known === undefined || known === "DONE" ? "CONNECTION_LOST" : known;
  const message = reason === "" ? "the connection was closed" : `the connection was closed: ${reason}`;
  return RksError.fromWire({ code: errorCode, message, retryable: false });
}
