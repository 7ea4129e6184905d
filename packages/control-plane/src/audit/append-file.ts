import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname } from "node:path";

const NEWLINE = 0x0a;
/**
 * Each write is on disk when it returns: one trip to the thread pool instead of one to write and one to sync, which
 * under load is what a line waits for most. Where the system has no such flag it is synced after each write.
 */
const { O_APPEND, O_CREAT, O_DSYNC = 0, O_RDWR } = constants as Partial<typeof constants> & typeof constants;
const HEAD_BYTES = 128;

export interface AppendFileInit {
  /**
   * Whether a file that is there already, which begins like this, is one to append to. What follows its last newline
   * would be cut off, so anything else must not be touched. Default: any file is.
   */
  readonly accepts?: ((head: string) => boolean) | undefined;
}

/**
 * A file (mode 0600) of whole lines, opened with the first write. What a failed write or a killed process left behind
 * is cut off again. When the file was moved away or deleted, the next write makes a new one.
 */
export class AppendFile implements AsyncDisposable {
  readonly #path: string;
  readonly #accepts: (head: string) => boolean;
  #file: FileHandle | undefined;
  #device = 0;
  #inode = 0;
  /** Length of the file up to the last line known to be whole. */
  #length = 0;
  /** What a failed write left in a file and could not be cut off then. */
  #toCut: { readonly device: number; readonly inode: number; readonly length: number } | undefined;
  #cutOffBytes = 0;

  constructor(path: string, init: AppendFileInit = {}) {
    this.#path = path;
    this.#accepts = init.accepts ?? (() => true);
  }

  /** Tells open files apart whatever their paths; undefined while the file is not open. */
  get identity(): string | undefined {
    return this.#file === undefined ? undefined : `${this.#device}:${this.#inode}`;
  }

  /**
   * Open the file if it is not open, or is not at the path any more. What was cut off from its end is handed over, for
   * whoever accounts for it.
   */
  async ready(): Promise<{ readonly cutOffBytes: number }> {
    await this.#current();
    const cutOffBytes = this.#cutOffBytes;
    this.#cutOffBytes = 0;
    return { cutOffBytes };
  }

  /** The last bytes of the file, at most as many as asked for. */
  async tail(maxBytes: number): Promise<Buffer> {
    const file = await this.#current();
    const start = Math.max(0, this.#length - maxBytes);
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(this.#length - start),
      0,
      this.#length - start,
      start,
    );
    return buffer.subarray(0, bytesRead);
  }

  /** Append whole lines to the file that `ready` has looked at; they are on disk when it resolves. Not to be called twice at once. */
  async write(lines: string): Promise<void> {
    const file = this.#file ?? (await this.#open());
    if (lines === "") return;
    const bytes = Buffer.from(lines);
    try {
      await writeFully(file, bytes);
      if (O_DSYNC === 0) await file.datasync();
      this.#length += bytes.length;
    } catch (error) {
      // The handle is given up: what a failed write left in the page cache cannot be trusted.
      this.#file = undefined;
      await file.truncate(this.#length).catch(() => {
        this.#toCut = { device: this.#device, inode: this.#inode, length: this.#length };
      });
      await file.close().catch(() => undefined);
      throw error;
    }
  }

  /** Close the file; the next write opens it again. */
  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => undefined);
  }

  /** The open file, if the path still leads to it; another one otherwise. */
  async #current(): Promise<FileHandle> {
    if (this.#file !== undefined) {
      const there = await stat(this.#path).catch(() => undefined);
      if (there !== undefined && there.dev === this.#device && there.ino === this.#inode) {
        // Not what was counted when a rotation copied the file and emptied it.
        this.#length = there.size;
        return this.#file;
      }
      await this[Symbol.asyncDispose]();
    }
    return this.#open();
  }

  async #open(): Promise<FileHandle> {
    const file = await open(this.#path, O_RDWR | O_APPEND | O_CREAT | O_DSYNC, 0o600);
    try {
      const found = await file.stat();
      if (!found.isFile()) throw new Error("it is not a regular file");
      if (found.size > 0 && !this.#accepts(await headOf(file))) {
        throw new Error("there is a file already, and it is not an audit log of this kind");
      }
      await file.chmod(0o600);
      this.#length = await wholeLines(file, this.#sizeToKeep(found));
      if (this.#length < found.size) await file.truncate(this.#length);
      this.#toCut = undefined;
      this.#cutOffBytes = found.size - this.#length;
      await file.sync();
      await syncFolder(dirname(this.#path));
      this.#device = found.dev;
      this.#inode = found.ino;
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#file = file;
    return file;
  }

  /** Whole lines of a write that failed are no more to be kept than half ones. */
  #sizeToKeep({
    dev,
    ino,
    size,
  }: {
    readonly dev: number;
    readonly ino: number;
    readonly size: number;
  }): number {
    const cut = this.#toCut;
    return cut?.device === dev && cut.inode === ino ? Math.min(size, cut.length) : size;
  }
}

async function headOf(file: FileHandle): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  return buffer.subarray(0, bytesRead).toString();
}

/** A new file is only safe once its name is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Length up to the last newline: a process that was killed inside a write leaves part of a line. */
async function wholeLines(file: FileHandle, size: number): Promise<number> {
  const block = Buffer.alloc(65_536);
  let end = size;
  while (end > 0) {
    const start = Math.max(0, end - block.length);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    const at = block.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (at >= 0) return start + at + 1;
    end = start;
  }
  return 0;
}

async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at);
    at += bytesWritten;
  }
}
