import { setMaxListeners } from "node:events";
import { CLOSE_CODES, type CloseCode, type Connection } from "@rk8s/protocol";

/** What a reason may have at most, in ASCII; see `CloseOptions`. */
const MAX_REASON_LENGTH = 200;

/** End a connection and tell the peer why: a code for programs, words for people. Never fails. */
export function closeConnection(connection: Connection, code: CloseCode, message: string): void {
  const reason = message.replaceAll(/[^ -~]/g, "?").slice(0, MAX_REASON_LENGTH);
  connection.close({ code: CLOSE_CODES[code], reason }).catch(() => undefined);
}

/** A signal that is aborted when the connection has ended. Every request under way listens to it. */
export function endSignal(connection: Connection): AbortSignal {
  const ended = new AbortController();
  setMaxListeners(0, ended.signal);
  connection.ended.then(
    ({ error }) => ended.abort(error),
    (error: unknown) => ended.abort(error),
  );
  return ended.signal;
}
