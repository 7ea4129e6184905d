import type { Logger } from "@rk8s/protocol";

/** Things that are owned together and given up in reverse order, each whatever the others do. Node 20 has no AsyncDisposableStack. */
export class Disposables implements AsyncDisposable {
  readonly #logger: Logger;
  #owned: AsyncDisposable[] = [];

  constructor(ports: { readonly logger: Logger }) {
    this.#logger = ports.logger;
  }

  /** Own something from now on; gives it back. */
  use<T extends AsyncDisposable>(owned: T): T {
    this.#owned.push(owned);
    return owned;
  }

  /** Own something that is given up by a function. */
  defer(giveUp: () => Promise<void>): void {
    this.#owned.push({ [Symbol.asyncDispose]: giveUp });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let owned = this.#owned.pop(); owned !== undefined; owned = this.#owned.pop()) {
      try {
        await owned[Symbol.asyncDispose]();
      } catch (error) {
        this.#logger.error("Closing failed", { error });
      }
    }
  }
}
