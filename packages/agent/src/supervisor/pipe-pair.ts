import { readSync, writeSync } from "node:fs";
import { decodeRecord, encodeRecord, RECORD_HEAD_BYTES, type StashRecord } from "./record.js";

/** Below what Linux gives a pipe (64 KiB, 16 pages), so that a record is always written in one go. */
const MAX_RECORD_BYTES = 49_152;

/** The largest payload that a pair of pipes keeps, in bytes. */
export const MAX_PAYLOAD_BYTES = MAX_RECORD_BYTES - RECORD_HEAD_BYTES;

/** Two file descriptors of pipes, each open for reading and writing and not blocking. */
export type PipeDescriptors = readonly [first: number, second: number];

/**
 * Keeps one payload in the kernel's memory, twice: in two pipes that outlive the process that writes them. Reading a
 * pipe empties it, and a process may be killed between any two system calls; so one pipe is filled again before the
 * other is touched, and the newest whole record counts. One process at a time uses a pair. Every buffer that held a
 * payload is overwritten.
 */
export class PipePair {
  readonly #descriptors: PipeDescriptors;

  constructor(descriptors: PipeDescriptors) {
    this.#descriptors = descriptors;
  }

  /**
   * Make both pipes hold the newest whole record. Done between two processes' turns, by somebody who is not killed
   * with them: while only one pipe is whole, its reader has the only copy for a moment.
   */
  repair(): void {
    const buffers = this.#descriptors.map((descriptor) => drain(descriptor));
    try {
      const records = buffers.map((bytes) => decodeRecord(bytes)).filter((record) => record !== undefined);
      const newest = records.toSorted((a, b) => Number(b.generation - a.generation))[0];
      if (newest !== undefined) this.#fill(newest);
    } finally {
      for (const bytes of buffers) bytes.fill(0);
    }
  }

  /** The payload, in bytes that the caller overwrites; undefined when there is none. Both pipes hold it afterwards. */
  read(): Uint8Array | undefined {
    for (const descriptor of this.#descriptors) {
      const bytes = drain(descriptor);
      const record = decodeRecord(bytes);
      if (record === undefined) continue;
      put(descriptor, bytes);
      const payload = Uint8Array.from(record.payload);
      bytes.fill(0);
      return payload;
    }
    return undefined;
  }

  /**
   * Replace the payload. Killed in the middle, the pair holds the old one or the new one. When it throws, it holds none.
   * @throws RangeError when the payload is too large; the system's error when a pipe takes less than it should.
   */
  write(payload: Uint8Array): void {
    const generation = this.#nextGeneration();
    try {
      this.#fill({ generation, payload });
    } catch (error) {
      this.clear();
      throw error;
    }
  }

  /** Hold nothing. */
  clear(): void {
    for (const descriptor of this.#descriptors) drain(descriptor).fill(0);
  }

  #nextGeneration(): bigint {
    const [first] = this.#descriptors;
    const bytes = drain(first);
    try {
      const record = decodeRecord(bytes);
      if (record !== undefined) put(first, bytes);
      return (record?.generation ?? 0n) + 1n;
    } finally {
      bytes.fill(0);
    }
  }

  /** One pipe after the other, each emptied first. */
  #fill(record: StashRecord): void {
    if (record.payload.length > MAX_PAYLOAD_BYTES) {
      throw new RangeError(`a payload of ${record.payload.length} bytes is above ${MAX_PAYLOAD_BYTES}`);
    }
    const bytes = encodeRecord(record);
    try {
      for (const descriptor of this.#descriptors) {
        drain(descriptor).fill(0);
        put(descriptor, bytes);
      }
    } finally {
      bytes.fill(0);
    }
  }
}

/**
 * Whether the pipes take as much as a record may have. A user with very many pipes gets small ones. Both are empty
 * afterwards.
 */
export function areLargeEnough(descriptors: PipeDescriptors): boolean {
  const probe = Buffer.alloc(MAX_RECORD_BYTES);
  return descriptors.every((descriptor) => {
    try {
      put(descriptor, probe);
      return true;
    } catch {
      return false;
    } finally {
      drain(descriptor);
    }
  });
}

/** Everything a pipe holds, in memory of its own. */
function drain(descriptor: number): Buffer {
  // What another program has put there is cut off, and then no record.
  const buffer = Buffer.alloc(2 * MAX_RECORD_BYTES);
  let length = 0;
  try {
    while (length < buffer.length) {
      const count = readSync(descriptor, buffer, length, buffer.length - length, null);
      if (count === 0) break;
      length += count;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
  }
  return buffer.subarray(0, length);
}

function put(descriptor: number, bytes: Uint8Array): void {
  const count = writeSync(descriptor, bytes);
  if (count !== bytes.length) throw new Error(`a pipe took ${count} of ${bytes.length} bytes`);
}
