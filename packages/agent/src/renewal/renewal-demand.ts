import { Bell } from "@rk8s/protocol";

/**
 * Demands to renew a certificate before its time: by the control plane, by a change of trust, after a sleep of the
 * host. Any number of them before a renewal begins are one.
 */
export class RenewalDemand {
  #reason: string | undefined;
  readonly #bell = new Bell();

  /** Renew as soon as there is a connection. */
  renewNow(reason: string): void {
    this.#reason ??= reason;
    this.#bell.ring();
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
      await this.#bell.wait(signal);
    }
  }
}
