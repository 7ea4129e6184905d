import { type Clock, type Logger, RksError } from "@rk8s/protocol";

/** Lines that may wait for the disk; a disk that is this far behind does not get better by waiting. */
const MAX_WAITING = 4096;
/** The same for what they take in memory. */
const MAX_WAITING_CHARACTERS = 64 * 1024 * 1024;

export interface LineBatchesInit {
  /** What is written, for errors and the log: `the audit log "/var/log/rks/audit.log"`. */
  readonly name: string;
  /** Make lines last before it resolves. Gets whole lines, as many as wait, and is never called twice at once. */
  readonly write: (lines: string) => Promise<void>;
  readonly logger: Logger;
  /** How long a write may take. A write that takes longer counts as failed, and so does all until it has settled. */
  readonly deadline?: { readonly ms: number; readonly clock: Pick<Clock, "sleep"> } | undefined;
}

interface Waiting {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (error: RksError) => void;
}

/** Writes lines one after the other, all that wait at a moment at once: one write and one sync for many callers. */
export class LineBatches implements AsyncDisposable {
  readonly #init: LineBatchesInit;
  #waiting: Waiting[] = [];
  #waitingCharacters = 0;
  #writing: Promise<void> | undefined;
  #hangs = false;
  #isFailing = false;
  #closed = false;

  constructor(init: LineBatchesInit) {
    this.#init = init;
  }

  /** Whether a write is beyond its deadline and has not ended. */
  get hangs(): boolean {
    return this.#hangs;
  }

  /**
   * Write a line, its newline included; resolves when it is safe. Nothing instead of a line waits for those before it.
   * @throws {RksError} AUDIT_UNWRITABLE, also after the end; BUSY when too many lines wait.
   */
  append(line: string): Promise<void> {
    if (this.#closed) return Promise.reject(this.#unwritable(new Error("it is closed")));
    if (this.#hangs) return Promise.reject(this.#unwritable(new Error("an earlier write has not ended")));
    if (this.#waiting.length >= MAX_WAITING || this.#waitingCharacters > MAX_WAITING_CHARACTERS) {
      const waiting = `${this.#waiting.length} lines wait to be written to ${this.#init.name}`;
      return Promise.reject(new RksError("BUSY", waiting, { suggestion: "Try again." }));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, resolve, reject });
      this.#waitingCharacters += line.length;
      this.#writing ??= this.#writeAll();
    });
  }

  /** Take no more lines; resolves when those that wait are written or have failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    // Whoever asks in the same turn of the event loop is in the first batch as well.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      this.#waitingCharacters = 0;
      try {
        await this.#write(batch.map(({ line }) => line).join(""));
        this.#noteSuccess();
        for (const { resolve } of batch) resolve();
      } catch (cause) {
        this.#noteFailure(cause);
        const error = this.#unwritable(cause);
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = undefined;
  }

  async #write(lines: string): Promise<void> {
    const { write, deadline } = this.#init;
    if (deadline === undefined) return write(lines);
    if (this.#hangs) throw new Error("an earlier write has not ended");
    const settled = new AbortController();
    const expire = async (): Promise<never> => {
      await deadline.clock.sleep(deadline.ms, { signal: settled.signal });
      this.#hangs = true;
      throw new Error(`it was not written within ${deadline.ms / 1000} s`);
    };
    const end = (): void => {
      this.#hangs = false;
      settled.abort();
    };
    const written = write(lines);
    written.then(end, end);
    await Promise.race([written, expire()]);
  }

  /** Once for each outage: a full disk must not fill the log as well. */
  #noteFailure(cause: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#init.logger.error("Audit log cannot be written", { log: this.#init.name, cause });
  }

  #noteSuccess(): void {
    if (!this.#isFailing) return;
    this.#isFailing = false;
    this.#init.logger.info("Audit log can be written again", { log: this.#init.name });
  }

  #unwritable(cause: unknown): RksError {
    return new RksError("AUDIT_UNWRITABLE", `${this.#init.name} cannot be written`, {
      cause,
      suggestion: "Free disk space or repair the permissions of the audit log; nothing is issued until then.",
    });
  }
}
