import { RksError } from "@rk8s/protocol";
import type { Clock } from "@rk8s/protocol";

import { isPassing } from "./sql-error.js";

/** Pause after the first failure; it doubles up to the second figure. */
const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 500;

export interface UntilAnsweredOptions {
  readonly clock: Clock;
  /** No new try begins after this. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Repeat what may be repeated while the server is away, starting, or gives way to somebody else.
 * @throws the last failure when time is up, and any failure that waiting does not mend, at once.
 */
export async function untilAnswered<T>(work: () => Promise<T>, options: UntilAnsweredOptions): Promise<T> {
  const { clock, timeoutMs, signal } = options;
  const end = clock.monotonicMs() + timeoutMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
    try {
      return await work();
    } catch (reason) {
      if (!(reason instanceof RksError) || !isPassing(reason)) throw reason;
      if (clock.monotonicMs() + pause >= end) throw reason;
    }
    await clock.sleep(pause, { signal });
  }
}
