import { RksError } from "@rk8s/protocol";

/** What a socket's deadline ends with. */
export function timedOut(path: string, timeoutMs: number): RksError {
  return new RksError("TIMED_OUT", `rks at "${path}" did not answer within ${timeoutMs / 1000} s`, {
    suggestion: "See its log.",
  });
}

/** What it means that the connection to a socket failed. */
export function unreachable(path: string, startCommand: string, cause: unknown): RksError {
  const errno = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (errno === "EACCES" || errno === "EPERM") {
    return new RksError("PERMISSION_DENIED", `the socket "${path}" is for the user that runs rks only`, {
      cause,
      suggestion: "Run the command as that user.",
    });
  }
  if (errno === "ECONNRESET" || errno === "EPIPE" || errno === "ERR_STREAM_PREMATURE_CLOSE") {
    return new RksError("CONNECTION_LOST", `rks at "${path}" went away while it answered`, { cause });
  }
  return new RksError("UNREACHABLE", `no rks answers at "${path}"`, {
    cause,
    suggestion: `Start it with \`${startCommand}\`.`,
  });
}
