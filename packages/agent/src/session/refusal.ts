import { RksError, isErrorCode, type ConnectionEnd, type ErrorCode } from "@rk8s/protocol";

/**
 * Answers of a control plane that has proven who it is and will not change its mind about this node. Anything else,
 * a server that cannot be verified included, may be a passing trouble of a cluster that this node already belongs
 * to: it keeps trying while its certificate lives.
 */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  "CERTIFICATE_EXPIRED",
  "CERTIFICATE_REVOKED",
  "CLIENT_CERTIFICATE_REFUSED",
  "NODE_BANNED",
  "NODE_EVICTED",
  "NODE_NAME_INVALID",
  "NODE_NAME_TAKEN",
  "PERMISSION_DENIED",
  "VERSION_UNSUPPORTED",
]);

/** Whether a session that failed with this error must not be tried again. */
export function isFinalForSession(error: RksError): boolean {
  return FINAL.has(error.code);
}

/**
 * The error behind a connection's end. When the control plane closed it with the name of an error code, alone or
 * before a colon and a message, it is that error.
 */
export function errorOfEnd(end: ConnectionEnd): RksError {
  const match = end.by === "peer" ? /^([A-Z_]+)(?:: (.*))?$/s.exec(end.reason) : null;
  const code = match?.[1];
  if (code !== undefined && isErrorCode(code)) {
    return new RksError(code, match?.[2] ?? "the control plane ended the connection");
  }
  if (end.error instanceof RksError) return end.error;
  return new RksError("CONNECTION_LOST", "the connection to the control plane ended", { cause: end.error });
}
