/**
 * Demands to renew a certificate before its time: by the control plane, by a change of trust, after a sleep of the
 * host. Any number of them before a renewal begins are one.
 */
export class RenewalDemand {
  #reason: string | undefined;
  #wake: (() => void) | undefined;

  /** Renew as soon as there is a connection. */
  renewNow(reason: string): void {
    this.#reason ??= reason;
    this.#wake?.();
  }

  /** A renewal begins, which serves what was demanded so far. */
  served(): void {
    this.#reason = undefined;
  }

  /** The reason, once there is a demand. One reader. @throws the signal's reason when it is aborted. */
  async next({ signal }: { readonly signal: AbortSignal }): Promise<string> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#reason !== undefined) return this.#reason;
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
}
