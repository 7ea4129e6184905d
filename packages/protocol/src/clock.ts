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
  sleep(ms: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
}
