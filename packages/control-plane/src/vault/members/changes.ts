import type { Logger } from "@rk8s/protocol";

/** What other processes that share the store write, for whoever keeps something in memory. */
export interface Changes {
  /** Call `listener` with each key of the barrier under `prefix` that another process has written or deleted. */
  on(prefix: string, listener: (key: string) => void): void;
  /** Call `listener` when writes may have been missed: whatever was read before may be old, revisions included. */
  onGap(listener: () => void): void;
}

/** Those who want to hear of changes; whoever hears of one tells them. */
export class Listeners implements Changes {
  readonly #logger: Logger;
  readonly #byPrefix: { readonly prefix: string; readonly listener: (key: string) => void }[] = [];
  readonly #ofGaps: (() => void)[] = [];

  constructor({ logger }: { readonly logger: Logger }) {
    this.#logger = logger;
  }

  on(prefix: string, listener: (key: string) => void): void {
    this.#byPrefix.push({ prefix, listener });
  }

  onGap(listener: () => void): void {
    this.#ofGaps.push(listener);
  }

  /** A key was written or deleted. */
  tell(key: string): void {
    for (const { prefix, listener } of this.#byPrefix) {
      if (key.startsWith(prefix)) this.#call(() => listener(key));
    }
  }

  /** Anything may have been. */
  gap(): void {
    for (const listener of this.#ofGaps) this.#call(listener);
  }

  #call(work: () => void): void {
    try {
      work();
    } catch (reason) {
      this.#logger.error("A change of another rks could not be taken in", { reason: String(reason) });
    }
  }
}

/** Of a store that this process has for itself. */
export const NO_CHANGES: Changes = { on: () => undefined, onGap: () => undefined };
