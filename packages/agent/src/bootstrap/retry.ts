import { RksError, type Clock, type Logger } from "@rk8s/protocol";
import pRetry from "p-retry";
import { backoffMs } from "./backoff.js";

export interface RetryOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  /** In all, the first one included. */
  readonly maxAttempts: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Run `attempt` until it succeeds, fails for good, or has failed `maxAttempts` times, with a growing pause in between.
 * @throws what the last attempt threw; the signal's reason when it is aborted.
 */
export async function retry<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, logger, random, maxAttempts, signal } = options;
  return pRetry(attempt, {
    retries: maxAttempts - 1,
    // The pauses are ours, by the injected clock.
    minTimeout: 0,
    ...(signal === undefined ? {} : { signal }),
    shouldRetry: async ({ error, retriesConsumed }) => {
      signal?.throwIfAborted();
      if (!(error instanceof RksError) || !error.retryable) return false;
      const pauseMs = backoffMs(retriesConsumed, random);
      logger.info("Trying again", { code: error.code, reason: error.message, pauseMs });
      await clock.sleep(pauseMs, { signal });
      return true;
    },
  });
}
