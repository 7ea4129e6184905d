import { withDeadline, type Clock } from "@rk8s/protocol";
import { stepTimeoutMs } from "./renewal-schedule.js";

/**
 * Run one step on the way to a newer certificate, or to a connection with one, so that it leaves time for others when it
 * hangs: with a third of what is left of the certificate, half a second to ten.
 * @throws {RksError} TIMED_OUT; the signal's reason when it is aborted; what the step throws.
 */
export async function inTime<T>(
  step: (signal: AbortSignal) => Promise<T>,
  options: {
    /** Of the certificate that must not run out meanwhile. */
    readonly leftMs: number;
    /** What the step does not do when time is up, for the message. */
    readonly attempt: string;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<T> {
  const { leftMs, ...rest } = options;
  return withDeadline(step, { ...rest, timeoutMs: stepTimeoutMs(leftMs) });
}

/** As `inTime`, for a step that opens something: what comes too late is closed. */
export async function openInTime<T extends { close(): Promise<void> }>(
  open: (signal: AbortSignal) => Promise<T>,
  options: Parameters<typeof inTime>[1],
): Promise<T> {
  return inTime(async (signal) => {
    const opened = await open(signal);
    if (signal.aborted) await opened.close();
    signal.throwIfAborted();
    return opened;
  }, options);
}
