/** Time as a dependency, so that tests decide what time it is. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. It may jump either way. */
  now(): number;
  /** Milliseconds from an arbitrary start that never run backwards. */
  monotonicMs(): number;
  /**
   * Wait at least `ms` milliseconds.
   * @throws the signal's reason as soon as `signal` is aborted.
   */
  sleep(ms: number, options?: SleepOptions): Promise<void>;
}

/** How to wait. */
export interface SleepOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether a process in which nothing else is under way ends in spite of this wait: for loops that run for ever. */
  readonly background?: boolean | undefined;
}
