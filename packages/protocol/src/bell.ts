/** Wakes those who wait for something to come. What came is the caller's to look at. */
export class Bell {
  readonly #waiting = new Set<() => void>();

  /** Whether anybody waits. */
  get isAwaited(): boolean {
    return this.#waiting.size > 0;
  }

  /** Wake whoever waits now; nothing is kept for one that waits later. */
  ring(): void {
    // Waking takes the one who waits out of the set; one that waits again comes in later, after this loop.
    for (const wake of this.#waiting) wake();
  }

  /** Resolves with the next ring or the signal, which must not be aborted yet. Never rejects. */
  async wait(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        signal.removeEventListener("abort", wake);
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}
