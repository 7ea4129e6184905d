import { RksError } from "./errors.js";
import { LIMITS } from "./limits.js";

/** What a frame carries: one JSON message, or raw bytes that belong to the message before it. */
export const FRAME_KINDS = { message: 0x01, bytes: 0x02 } as const;
export type FrameKind = keyof typeof FRAME_KINDS;

export interface Frame {
  readonly kind: FrameKind;
  readonly body: Uint8Array;
}

const LENGTH_BYTES = 4;
/** Length (u32, big-endian, of kind and body) and kind. */
const HEADER_BYTES = LENGTH_BYTES + 1;
const EMPTY = new Uint8Array(0);

/**
 * One frame as it goes on the wire: `u32be length ‖ u8 kind ‖ body`; the length counts kind and body. Whether the
 * peer takes a frame of that size is not checked.
 */
export function encodeFrame(kind: FrameKind, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + body.length);
  new DataView(frame.buffer).setUint32(0, body.length + 1);
  frame[LENGTH_BYTES] = FRAME_KINDS[kind];
  frame.set(body, HEADER_BYTES);
  return frame;
}

/**
 * Takes bytes as they arrive, however they are split, and gives the frames in them: every split of the same bytes gives
 * the same frames and then the same error. What is buffered is at most twice what came.
 */
export class FrameDecoder {
  readonly #maxFrameBytes: number;
  /** Holds the unfinished frame in its first `#buffered` bytes. */
  #buffer: Uint8Array = EMPTY;
  #buffered = 0;
  /** Bytes that must be there before another look is worth while. */
  #wanted = LENGTH_BYTES;
  #failure: RksError | undefined;

  /** Frames whose kind and body together exceed `maxFrameBytes` are refused before they are buffered. */
  constructor(options: { readonly maxFrameBytes?: number } = {}) {
    this.#maxFrameBytes = options.maxFrameBytes ?? LIMITS.maxMessageBytes;
  }

  /**
   * Add bytes; returns the frames that are complete now. Frames before a bad one are returned first; the error then
   * comes with the next call, an empty push included. After a throw the stream is beyond repair.
   * @throws {RksError} MESSAGE_TOO_LARGE, or FRAME_INVALID for an empty frame or an unknown kind.
   */
  push(bytes: Uint8Array): Frame[] {
    if (this.#failure !== undefined) throw this.#failure;
    const all = this.#buffered === 0 ? bytes : this.#append(bytes);
    const frames: Frame[] = [];
    try {
      const taken = all.length < this.#wanted ? 0 : this.#cut(all, frames);
      if (taken > 0 || this.#buffered === 0) this.#keep(all.subarray(taken));
    } catch (error) {
      this.#failure = RksError.from(error);
      this.#buffer = EMPTY;
      if (frames.length === 0) throw this.#failure;
    }
    return frames;
  }

  /** Say that no more bytes will come. @throws {RksError} MESSAGE_TRUNCATED when a frame is unfinished, and as `push`. */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#buffered > 0) {
      throw new RksError(
        "MESSAGE_TRUNCATED",
        `the stream ended inside a frame, after ${this.#buffered} of its bytes`,
        { suggestion: "Try again." },
      );
    }
  }

  /** Put bytes behind what is buffered; the room doubles, so that many small pieces cost no more than one large one. */
  #append(bytes: Uint8Array): Uint8Array {
    const length = this.#buffered + bytes.length;
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#buffered));
      larger.set(this.#buffer.subarray(0, this.#buffered));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered = length;
    return this.#buffer.subarray(0, length);
  }

  /** Keep the beginning of an unfinished frame. */
  #keep(rest: Uint8Array): void {
    this.#buffered = rest.length;
    this.#buffer = rest.length === 0 ? EMPTY : rest.slice();
  }

  /** Take every complete frame off the front; returns how many bytes they were. */
  #cut(all: Uint8Array, frames: Frame[]): number {
    const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
    for (let at = 0; ; at += this.#wanted) {
      const left = all.length - at;
      this.#wanted = LENGTH_BYTES;
      if (left < this.#wanted) return at;
      const length = view.getUint32(at);
      this.#assertLength(length, this.#maxFrameBytes);
      this.#wanted = HEADER_BYTES;
      if (left < this.#wanted) return at;
      const kind = kindOf(all[at + LENGTH_BYTES]!);
      if (kind === "bytes") this.#assertLength(length, LIMITS.maxBytesFrame + 1);
      this.#wanted = LENGTH_BYTES + length;
      if (left < this.#wanted) return at;
      frames.push({ kind, body: all.slice(at + HEADER_BYTES, at + this.#wanted) });
    }
  }

  #assertLength(length: number, max: number): void {
    if (length === 0) throw new RksError("FRAME_INVALID", "a frame of length 0 has no kind");
    if (length > max) {
      throw new RksError("MESSAGE_TOO_LARGE", `a frame of ${length} bytes exceeds the limit of ${max}`, {
        suggestion: "Send less at once.",
      });
    }
  }
}

function kindOf(byte: number): FrameKind {
  if (byte === FRAME_KINDS.message) return "message";
  if (byte === FRAME_KINDS.bytes) return "bytes";
  throw new RksError("FRAME_INVALID", `frame kind ${byte} is unknown`);
}
