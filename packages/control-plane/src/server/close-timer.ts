import type { CloseCode, Clock, Connection } from "@rk8s/protocol";
import { closeConnection } from "./close-connection.js";

/** Longest single sleep towards a certificate's end: the wall clock may jump meanwhile. */
const MAX_SLEEP_MS = 60_000;

interface TimerOptions {
  readonly clock: Clock;
  /** Aborted when the connection has ended by itself. */
  readonly ended: AbortSignal;
}

/** Close the connection after so long, unless it has ended or earned more by then. */
export function closeAfter(
  connection: Connection,
  ms: number,
  why: { readonly code: CloseCode; readonly message: string },
  options: TimerOptions & { readonly unless?: () => boolean },
): void {
  const wait = async (): Promise<void> => {
    await options.clock.sleep(ms, { signal: options.ended });
    if (options.unless?.() !== true) closeConnection(connection, why.code, why.message);
  };
  wait().catch(() => undefined);
}

/** Close the connection when the peer's certificate is over, by the wall clock. */
export function closeAtExpiry(connection: Connection, notAfter: number, options: TimerOptions): void {
  const { clock, ended } = options;
  const wait = async (): Promise<void> => {
    for (let left = notAfter - clock.now(); left > 0; left = notAfter - clock.now()) {
      await clock.sleep(Math.min(left, MAX_SLEEP_MS), { signal: ended });
    }
    const at = new Date(notAfter).toISOString();
    closeConnection(connection, "CERTIFICATE_EXPIRED", `the certificate expired at ${at}`);
  };
  wait().catch(() => undefined);
}
