import { AppendFile, type AppendFileInit } from "./append-file.js";
import { LineBatches, type LineBatchesInit } from "./line-batches.js";

export interface DurableLinesInit extends AppendFileInit, Pick<LineBatchesInit, "logger" | "deadline"> {}

/**
 * A file of lines, each on disk before it is answered for, many with one write and one sync. It can be used at once;
 * a file that cannot be opened is tried again with every write.
 */
export class DurableLines implements AsyncDisposable {
  readonly #file: AppendFile;
  readonly #batches: LineBatches;
  #reopen = false;

  constructor(path: string, init: DurableLinesInit) {
    this.#file = new AppendFile(path, init);
    this.#batches = new LineBatches({
      ...init,
      name: `the audit log "${path}"`,
      write: (lines) => this.#write(lines),
    });
  }

  /** Of the open file, see `AppendFile`. */
  get identity(): string | undefined {
    return this.#file.identity;
  }

  /**
   * Append a line, its newline included; resolves when it is on disk.
   * @throws {RksError} AUDIT_UNWRITABLE; BUSY when too many lines wait.
   */
  append(line: string): Promise<void> {
    return this.#batches.append(line);
  }

  /**
   * Open the file at the path, whatever was open until then.
   * @throws {RksError} AUDIT_UNWRITABLE when that is not possible; it is tried again with the next line.
   */
  reopen(): Promise<void> {
    this.#reopen = true;
    return this.#batches.append("");
  }

  /** Write what waits and close the file. A write that hangs is left to itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#batches[Symbol.asyncDispose]();
    const closed = this.#file[Symbol.asyncDispose]();
    // A file is not closed before the writes to it have ended.
    if (!this.#batches.hangs) await closed;
  }

  async #write(lines: string): Promise<void> {
    if (this.#reopen) {
      this.#reopen = false;
      await this.#file[Symbol.asyncDispose]();
    }
    await this.#file.write(lines);
  }
}
