import { open, type FileHandle } from "node:fs/promises";
import type { Clock } from "@rk8s/protocol";

const CHUNK_BYTES = 65_536;
/** A follower looks for more this often. */
const FOLLOW_MS = 200;
const NEW_LINE = 0x0a;

export interface LogReadOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly tailLines: number | undefined;
  /** Whether more may still be written. Asked before every last look; `false` at once when not following. */
  readonly isOpen: () => Promise<boolean>;
}

/**
 * The bytes of a container's log, `log.1` before `log`, and what is added while `isOpen()`. A follower that falls a
 * whole file behind loses what was thrown away meanwhile.
 */
export async function* readLog(
  folder: string,
  options: LogReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { signal, tailLines } = options;
  let current = await openLog(`${folder}/log`);
  try {
    const older = await openLog(`${folder}/log.1`);
    try {
      // Between the two opens `log` may have become `log.1`; then both are the same file.
      const same =
        older !== undefined && current !== undefined && (await inodeOf(older)) === (await inodeOf(current));
      const files = [
        ...(older === undefined || same ? [] : [older]),
        ...(current === undefined ? [] : [current]),
      ];
      const starts = await tailStarts(files, tailLines);
      for (const [i, file] of files.entries())
        if (file !== current) yield* readFrom(file, starts[i]!, signal);
      if (current === undefined) current = await firstLog(folder, options);
      if (current === undefined) return;
      let at = starts[files.indexOf(current)] ?? 0;
      for (;;) {
        const isOpen = await options.isOpen();
        for await (const chunk of readFrom(current, at, signal)) {
          at += chunk.length;
          yield chunk;
        }
        const next = await successor(folder, current);
        if (next !== undefined) {
          yield* readFrom(current, at, signal);
          await current.close();
          current = next;
          at = 0;
        } else if (isOpen) {
          await options.clock.sleep(FOLLOW_MS, { signal });
        } else {
          return;
        }
      }
    } finally {
      await older?.close();
    }
  } finally {
    await current?.close();
  }
}

/** Wait for a log that has not been begun; undefined when there never will be one. */
async function firstLog(folder: string, options: LogReadOptions): Promise<FileHandle | undefined> {
  for (;;) {
    const isOpen = await options.isOpen();
    const file = await openLog(`${folder}/log`);
    if (file !== undefined || !isOpen) return file;
    await options.clock.sleep(FOLLOW_MS, { signal: options.signal });
  }
}

/** The file that replaced `current`, when it was rotated away. */
async function successor(folder: string, current: FileHandle): Promise<FileHandle | undefined> {
  const next = await openLog(`${folder}/log`);
  if (next === undefined) return undefined;
  if ((await inodeOf(next)) !== (await inodeOf(current))) return next;
  await next.close();
  return undefined;
}

async function* readFrom(
  file: FileHandle,
  start: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = start; ;) {
    signal.throwIfAborted();
    const buffer = new Uint8Array(CHUNK_BYTES);
    const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Where to begin in each file so that `lines` lines are left; a last line without its end counts as one. */
async function tailStarts(files: readonly FileHandle[], lines: number | undefined): Promise<number[]> {
  if (lines === undefined) return files.map(() => 0);
  const starts = await Promise.all(files.map(async (file) => (await file.stat()).size));
  let left = lines;
  let endsLog = true;
  for (let i = files.length - 1; i >= 0 && left > 0; i--) {
    const size = starts[i]!;
    const found = await lineStart(files[i]!, size, left, endsLog);
    starts[i] = found.start;
    left = found.left;
    if (size > 0) endsLog = false;
  }
  return starts;
}

async function lineStart(
  file: FileHandle,
  size: number,
  lines: number,
  endsLog: boolean,
): Promise<{ start: number; left: number }> {
  let left = lines;
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let end = size; end > 0;) {
    const begin = Math.max(0, end - CHUNK_BYTES);
    const { bytesRead } = await file.read(buffer, 0, end - begin, begin);
    for (let i = bytesRead - 1; i >= 0; i--) {
      const at = begin + i;
      const closesLastLine = endsLog && at === size - 1;
      if (buffer[i] === NEW_LINE && !closesLastLine && --left === 0) return { start: at + 1, left: 0 };
    }
    end = begin;
  }
  return { start: 0, left };
}

async function inodeOf(file: FileHandle): Promise<number> {
  return (await file.stat()).ino;
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (reason) {
    if ((reason as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw reason;
  }
}
