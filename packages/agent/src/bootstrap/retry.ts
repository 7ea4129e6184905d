import { RksError, type Clock, type Logger } from "@rk8s/protocol";
import pRetry from "p-retry";
import { joinPause } from "./join-pause.js";
import type { RksAddresses } from "./rks-addresses.js";

export interface RetryOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  /** Each attempt turns to the one that they name then, and passes it over when it fails. */
  readonly addresses: RksAddresses;
  /** For each control plane, the first one included. */
  readonly maxAttempts: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Run `attempt` until it succeeds, fails for good, or has failed `maxAttempts` times for each control plane, with pauses in between
 * as of `joinPause`.
 * @throws what the last attempt threw; the signal's reason when it is aborted.
 */
export async function retry<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, logger, random, addresses, maxAttempts, signal } = options;
  let address = addresses.current;
  const attemptNow = async (): Promise<T> => {
    address = addresses.current;
    return attempt();
  };
  return pRetry(attemptNow, {
    retries: maxAttempts * addresses.count - 1,
    // The pauses are ours, by the injected clock.
    minTimeout: 0,
    ...(signal === undefined ? {} : { signal }),
    shouldRetry: async ({ error, retriesConsumed }) => {
      signal?.throwIfAborted();
      if (!(error instanceof RksError) || !error.retryable) return false;
      const failed = { code: error.code, address, attempt: retriesConsumed + 1 };
      const pauseMs = joinPause(failed, addresses, { clock, random });
      logger.info("Trying again", { code: error.code, reason: error.message, pauseMs });
      await clock.sleep(pauseMs, { signal });
      return true;
    },
  });
}
