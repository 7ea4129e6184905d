import type { Clock } from "./clock.js";
import { RksError } from "./errors.js";
import { LinkedAbort } from "./linked-abort.js";

export interface DeadlineOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** What was attempted, for the message: `"rks did not answer Hello"`. */
  readonly attempt: string;
  readonly suggestion?: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Run `work` with a deadline. The signal given to `work` is aborted when time is up, when `options.signal` is, and
 * when `work` has settled.
 * @throws {RksError} TIMED_OUT when time is up; the signal's reason when it is aborted, even when `work` does not heed
 * the signal and goes on.
 */
export async function withDeadline<T>(
  work: (signal: AbortSignal) => Promise<T>,
  options: DeadlineOptions,
): Promise<T> {
  const { clock, timeoutMs, signal: outer } = options;
  outer?.throwIfAborted();
  using inner = new LinkedAbort(outer);
  const expire = async (): Promise<never> => {
    await clock.sleep(timeoutMs, { signal: inner.signal });
    const error = new RksError("TIMED_OUT", `${options.attempt} within ${timeoutMs / 1000} s`, {
      suggestion: options.suggestion,
    });
    inner.abort(error);
    throw error;
  };
  // The race also handles the loser's rejection: it never becomes an unhandled one.
  return await Promise.race([work(inner.signal), expire()]);
}

/** Resolves when `work` has settled, however it did, and after `timeoutMs` at the latest. Never rejects. */
export async function settledWithin(
  work: Promise<unknown>,
  { clock, timeoutMs }: { readonly clock: Pick<Clock, "sleep">; readonly timeoutMs: number },
): Promise<void> {
  const over = new AbortController();
  await Promise.race([
    work.catch(() => undefined),
    clock.sleep(timeoutMs, { signal: over.signal }).catch(() => undefined),
  ]);
  over.abort();
}
