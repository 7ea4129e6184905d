import type { Clock } from "./clock.js";
import { CLOSE_CODES } from "./close-codes.js";
import { withDeadline } from "./deadline.js";
import { RksError } from "./errors.js";
import { LIMITS } from "./limits.js";
import type { Connection, Stream } from "./transport.js";

/**
 * Open a stream, and close a connection that grants none in time: before `LIMITS.requestTimeoutMs`, or before the
 * TIMED_OUT of the signal. Both sides grant more streams than they use, so such a connection has lost the grant: a
 * transport need not repeat it (quiche 0.18 does not repeat a lost MAX_STREAMS, RFC 9000 §13.3), and would wait for
 * ever. Whoever owns the connection sees its end and connects again.
 * @throws {RksError} TIMED_OUT, CONNECTION_LOST; the signal's reason when it is aborted.
 */
export async function openStreamInTime(
  connection: Pick<Connection, "openStream" | "close">,
  options: { readonly clock: Clock; readonly signal?: AbortSignal | undefined },
): Promise<Stream> {
  try {
    return await withDeadline(async (signal) => connection.openStream({ signal }), {
      ...options,
      timeoutMs: LIMITS.requestTimeoutMs,
      attempt: "the peer granted no stream",
    });
  } catch (reason) {
    if (reason instanceof RksError && reason.code === "TIMED_OUT") {
      const close = { code: CLOSE_CODES.TIMED_OUT, reason: "no stream was granted in time" };
      connection.close(close).catch(() => undefined);
    }
    throw reason;
  }
}
