import { type FileHandle, open, stat } from "node:fs/promises";
import type { Clock } from "@rk8s/protocol";
import { RksError } from "@rk8s/protocol";

const NEWLINE = 0x0a;
const PIECE_BYTES = 64 * 1024;
/** A line that is longer is left out. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** How often a file is looked at for more. */
const POLL_MS = 200;

export interface TailOptions {
  /** How many lines of the file's end come first. */
  readonly lines: number;
  /** Go on with what is written, also to the next file at the path, until the signal is aborted. */
  readonly follow: boolean;
  readonly clock: Pick<Clock, "sleep">;
  readonly signal: AbortSignal;
}

/**
 * The last lines of a file, and those that follow.
 * @throws {RksError} NOT_FOUND, PERMISSION_DENIED.
 */
export async function* tailFile(path: string, options: TailOptions): AsyncGenerator<string, void, void> {
  const { follow, clock, signal } = options;
  let file = await openToRead(path);
  try {
    let reader = new LineReader(file, await startOfLast(file, options.lines));
    for (;;) {
      yield* reader.lines();
      if (!follow || signal.aborted) return;
      const next = await replaced(path, file);
      if (next !== undefined) {
        // What was written between the last look and the move.
        yield* reader.lines();
        await file.close();
        file = next;
        reader = new LineReader(file, 0);
        continue;
      }
      await clock.sleep(POLL_MS, { signal }).catch(() => undefined);
    }
  } finally {
    await file.close();
  }
}

/** Reads the whole lines behind a place, as far as they are written. */
class LineReader {
  readonly #file: FileHandle;
  #at: number;
  #begun: Buffer[] = [];
  #begunBytes = 0;

  constructor(file: FileHandle, at: number) {
    this.#file = file;
    this.#at = at;
  }

  async *lines(): AsyncGenerator<string, void, void> {
    // A rotation copied the file and emptied it.
    if ((await this.#file.stat()).size < this.#at) this.#restart();
    for (;;) {
      const piece = Buffer.alloc(PIECE_BYTES);
      const { bytesRead } = await this.#file.read(piece, 0, piece.length, this.#at);
      if (bytesRead === 0) return;
      this.#at += bytesRead;
      let from = 0;
      for (let to = piece.indexOf(NEWLINE); to >= 0 && to < bytesRead; to = piece.indexOf(NEWLINE, from)) {
        this.#add(piece.subarray(from, to));
        if (this.#begunBytes <= MAX_LINE_BYTES) yield Buffer.concat(this.#begun).toString();
        this.#forget();
        from = to + 1;
      }
      this.#add(piece.subarray(from, bytesRead));
    }
  }

  #restart(): void {
    this.#at = 0;
    this.#forget();
  }

  #add(bytes: Buffer): void {
    this.#begunBytes += bytes.length;
    if (this.#begunBytes <= MAX_LINE_BYTES) this.#begun.push(bytes);
    else this.#begun = [];
  }

  #forget(): void {
    this.#begun = [];
    this.#begunBytes = 0;
  }
}

/** Where the last lines of a file begin. */
async function startOfLast(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  const piece = Buffer.alloc(PIECE_BYTES);
  // The newline at the very end ends the last line.
  let left = lines + 1;
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - piece.length);
    const { bytesRead } = await file.read(piece, 0, end - start, start);
    for (let at = bytesRead - 1; at >= 0; at -= 1) {
      if (piece[at] !== NEWLINE) continue;
      left -= 1;
      if (left === 0) return start + at + 1;
    }
    end = start;
  }
  return 0;
}

/** The file that is at the path now, when it is another one. */
async function replaced(path: string, file: FileHandle): Promise<FileHandle | undefined> {
  const there = await stat(path).catch(() => undefined);
  if (there === undefined) return undefined;
  const own = await file.stat();
  return there.dev === own.dev && there.ino === own.ino ? undefined : openToRead(path);
}

async function openToRead(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (cause) {
    const isMissing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    throw new RksError(
      isMissing ? "NOT_FOUND" : "PERMISSION_DENIED",
      isMissing ? `there is no audit log "${path}"` : `the audit log "${path}" cannot be read`,
      { cause, suggestion: "Name the config of an rks that was started, and read its log as its user." },
    );
  }
}
