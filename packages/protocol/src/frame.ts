import { concatBytes } from "./bytes.js";
import { RksError } from "./errors.js";
import { LIMITS } from "./limits.js";

/** What a frame carries: one JSON message, or raw bytes that belong to the message before it. */
export const FRAME_KINDS = { message: 0x01, bytes: 0x02 } as const;
export type FrameKind = keyof typeof FRAME_KINDS;

export interface Frame {
  readonly kind: FrameKind;
  readonly body: Uint8Array;
}

/** Length (u32, big-endian, of kind and body) and kind. */
const HEADER_BYTES = 5;

/** One frame as it goes on the wire: `u32be length ‖ u8 kind ‖ body`; the length counts kind and body. */
export function encodeFrame(kind: FrameKind, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + body.length);
  new DataView(frame.buffer).setUint32(0, body.length + 1);
  frame[4] = FRAME_KINDS[kind];
  frame.set(body, HEADER_BYTES);
  return frame;
}

/** Takes bytes as they arrive, however they are split, and gives the frames in them. */
export class FrameDecoder {
  readonly #maxFrameBytes: number;
  #buffered: Uint8Array = new Uint8Array(0);

  /** Frames whose kind and body together exceed `maxFrameBytes` are refused before they are buffered. */
  constructor(options: { readonly maxFrameBytes?: number } = {}) {
    this.#maxFrameBytes = options.maxFrameBytes ?? LIMITS.maxMessageBytes;
  }

  /**
   * Add bytes; returns the frames that are complete now. After a throw the stream is beyond repair.
   * @throws {RksError} MESSAGE_TOO_LARGE, or FRAME_INVALID for an empty frame or an unknown kind.
   */
  push(bytes: Uint8Array): Frame[] {
    this.#buffered = this.#buffered.length === 0 ? bytes : concatBytes(this.#buffered, bytes);
    const frames: Frame[] = [];
    let at = 0;
    while (this.#buffered.length - at >= 4) {
      const length = new DataView(this.#buffered.buffer, this.#buffered.byteOffset + at).getUint32(0);
      this.#assertLength(length);
      if (this.#buffered.length - at < 5) break;
      const kind = kindOf(this.#buffered[at + 4]!);
      if (this.#buffered.length - at < 4 + length) break;
      frames.push({ kind, body: this.#buffered.slice(at + HEADER_BYTES, at + 4 + length) });
      at += 4 + length;
    }
    if (at > 0) this.#buffered = this.#buffered.slice(at);
    return frames;
  }

  /** Say that no more bytes will come. @throws {RksError} MESSAGE_TRUNCATED when a frame is unfinished. */
  end(): void {
    if (this.#buffered.length > 0) {
      throw new RksError(
        "MESSAGE_TRUNCATED",
        `the stream ended inside a frame, after ${this.#buffered.length} of its bytes`,
        { suggestion: "Try again." },
      );
    }
  }

  #assertLength(length: number): void {
    if (length === 0) throw new RksError("FRAME_INVALID", "a frame of length 0 has no kind");
    if (length > this.#maxFrameBytes) {
      throw new RksError(
        "MESSAGE_TOO_LARGE",
        `a frame of ${length} bytes exceeds the limit of ${this.#maxFrameBytes}`,
        { suggestion: "Send less at once." },
      );
    }
  }
}

function kindOf(byte: number): FrameKind {
  for (const [kind, value] of Object.entries(FRAME_KINDS)) if (value === byte) return kind as FrameKind;
  throw new RksError("FRAME_INVALID", `frame kind ${byte} is unknown`);
}
