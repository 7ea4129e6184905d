import type { Clock } from "./clock.js";
import { RksError } from "./errors.js";

/** Ends the sleep, and what `work` may still be doing, once the result is known. Nobody gets to see it. */
const SETTLED = new RksError("INTERNAL", "the work has settled");

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
  const inner = new AbortController();
  const forward = (): void => inner.abort(outer?.reason);
  outer?.addEventListener("abort", forward, { once: true });
  const expire = async (): Promise<never> => {
    await clock.sleep(timeoutMs, { signal: inner.signal });
    const error = new RksError("TIMED_OUT", `${options.attempt} within ${timeoutMs / 1000} s`, {
      suggestion: options.suggestion,
    });
    inner.abort(error);
    throw error;
  };
  try {
    // The race also handles the loser's rejection: it never becomes an unhandled one.
    return await Promise.race([work(inner.signal), expire()]);
  } finally {
    outer?.removeEventListener("abort", forward);
    inner.abort(SETTLED);
  }
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
