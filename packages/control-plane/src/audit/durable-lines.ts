import { type AuditChain, type LostHead, RESUME_BYTES } from "./audit-chain.js";
import { AppendFile, type AppendFileInit } from "./append-file.js";
import { LineBatches, type LineBatchesInit } from "./line-batches.js";

export interface DurableLinesInit extends AppendFileInit, Pick<LineBatchesInit, "logger" | "deadline"> {
  /** Each line, a JSON object, gets its place in this chain. Default: lines are written as they are. */
  readonly chain?: AuditChain | undefined;
  /** Told what was lost from a file's end when it was opened. The lines that it gives are written first. */
  readonly onLoss?: ((loss: Loss) => string) | undefined;
}

/** What a file's end does not have. */
export interface Loss {
  /** Of a line that was begun and not ended: its writer was killed, or the disk full. Nobody was answered for it. */
  readonly cutOffBytes: number;
  /** Set when the chain's last record is not there. */
  readonly head?: LostHead | undefined;
}

/**
 * A file of lines, each on disk before it is answered for, many with one write and one sync. It can be used at once;
 * a file that cannot be opened is tried again with every write.
 */
export class DurableLines implements AsyncDisposable {
  readonly #file: AppendFile;
  readonly #batches: LineBatches;
  readonly #chain: AuditChain | undefined;
  readonly #onLoss: (loss: Loss) => string;
  #reopen = false;

  constructor(path: string, init: DurableLinesInit) {
    this.#file = new AppendFile(path, init);
    this.#chain = init.chain;
    this.#onLoss = init.onLoss ?? (() => "");
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
    await this.#chain?.settled();
  }

  async #write(lines: string): Promise<void> {
    const { identity } = this.#file;
    if (this.#reopen) {
      this.#reopen = false;
      await this.#file[Symbol.asyncDispose]();
    }
    const { cutOffBytes } = await this.#file.ready();
    // Who resumes from the next file alone could not judge records that are in the one before.
    if (identity !== undefined && identity !== this.#file.identity) await this.#chain?.caughtUp();
    const head = await this.#resume();
    const isLoss = cutOffBytes > 0 || head !== undefined;
    const all = isLoss ? this.#onLoss({ cutOffBytes, head }) + lines : lines;
    if (this.#chain === undefined || all === "") return this.#file.write(all);
    const linked = this.#chain.link(all);
    await this.#file.write(linked.lines);
    linked.written();
  }

  async #resume(): Promise<LostHead | undefined> {
    if (this.#chain === undefined || this.#chain.isResumed) return undefined;
    let lost: LostHead | undefined;
    for (const bytes of RESUME_BYTES) {
      const end = await this.#file.tail(bytes);
      const isWhole = end.length < bytes;
      lost = await this.#chain.resume(end, isWhole);
      if (lost === undefined || isWhole) break;
    }
    return lost;
  }
}
