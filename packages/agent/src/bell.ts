/** Wakes the one that waits for something to come. */
export class Bell {
  #wake: (() => void) | undefined;

  /** Wake whoever waits; nothing is kept for one that waits later. */
  ring(): void {
    this.#wake?.();
  }

  /** Resolves with the next ring or the signal, which must not be aborted yet. One waits at a time. */
  async wait(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        signal.removeEventListener("abort", wake);
        this.#wake = undefined;
        resolve();
      };
      this.#wake = wake;
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}
