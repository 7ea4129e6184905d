import { RksError } from "@rk8s/protocol";
import type { Logger } from "@rk8s/protocol";

/** A job in the background that never runs twice at once. Disposing it stops it. */
export class OneAtATime implements AsyncDisposable {
  readonly #job: (signal: AbortSignal) => Promise<number>;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  /** The job gives how many things it removed. */
  constructor(job: (signal: AbortSignal) => Promise<number>, logger: Logger) {
    this.#job = job;
    this.#logger = logger;
  }

  /** Start the job; false when it is running already. */
  start(): boolean {
    if (this.#running !== undefined) return false;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      const removed = await this.#job(this.#stopping.signal);
      this.#logger.info("Tidied", { removed });
    } catch (reason) {
      if (this.#stopping.signal.aborted) return;
      this.#logger.warn("Tidying failed", { error: RksError.from(reason).message });
    }
  }
}
