import { decodeMessage, encodeMessage } from "./codec.js";
import { RksError } from "./errors.js";
import { encodeFrame, FrameDecoder, type Frame } from "./frame.js";
import { LIMITS } from "./limits.js";
import type { RksMessage } from "./message.js";
import type { Stream } from "./transport.js";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

const NOTHING = new Uint8Array(0);

/** What came in: a message with its body's bytes as they were on the wire, or raw bytes. */
export type Received =
  | { readonly kind: "message"; readonly message: RksMessage; readonly body: Uint8Array }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

/** Messages and raw bytes over one stream of a transport. One reader and one writer at a time. */
export class MessageStream {
  readonly #stream: Stream;
  readonly #decoder: FrameDecoder;
  /** Complete frames that nobody has asked for yet, last first. */
  #frames: Frame[] = [];
  #ended = false;

  /** `maxFrameBytes` bounds what is received; a bootstrapping peer is allowed less than a proven one. */
  constructor(stream: Stream, options: { readonly maxFrameBytes?: number } = {}) {
    this.#stream = stream;
    this.#decoder = new FrameDecoder({ maxFrameBytes: options.maxFrameBytes ?? LIMITS.maxMessageBytes });
  }

  /**
   * Send a message; returns its body's bytes, which proofs sign.
   * @throws {RksError} MESSAGE_TOO_LARGE and MESSAGE_INVALID before anything is sent, and as `Stream.write`.
   */
  async send(message: RksMessage, options: CallOptions = {}): Promise<Uint8Array> {
    const body = encodeMessage(message);
    if (body.length >= LIMITS.maxMessageBytes) {
      throw new RksError(
        "MESSAGE_TOO_LARGE",
        `${message.type} of ${body.length} bytes exceeds the limit of ${LIMITS.maxMessageBytes - 1}`,
        { suggestion: "Send less at once." },
      );
    }
    await this.#stream.write(encodeFrame("message", body), options);
    return body;
  }

  /** Send raw bytes, split into frames of bounded size. @throws {RksError} as `Stream.write`. */
  async sendBytes(bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    for (let at = 0; at < bytes.length; at += LIMITS.maxBytesFrame) {
      const frame = encodeFrame("bytes", bytes.subarray(at, at + LIMITS.maxBytesFrame));
      await this.#stream.write(frame, options);
    }
  }

  /**
   * Say that the bytes are over and nothing more will be sent: with an empty frame, so that the end never travels
   * alone. A QUIC library may forget a stream as soon as all of its data has arrived; an end that gets lost then is
   * never sent again. @throws {RksError} as `Stream.write`.
   */
  async endBytes(options: CallOptions = {}): Promise<void> {
    await this.#stream.write(encodeFrame("bytes", NOTHING), options);
    this.end();
  }

  /** Say that nothing more will be sent; at once after the last message, so that both travel together. Idempotent. */
  end(): void {
    this.#stream.end();
  }

  /** Give the stream up in both directions. */
  reset(code?: number): void {
    this.#stream.reset(code);
  }

  /**
   * The next message or bytes; undefined at the end.
   * @throws {RksError} a coded error for whatever is malformed, and as `Stream.read`.
   */
  async receive(options: CallOptions = {}): Promise<Received | undefined> {
    // An empty push brings up the error of a frame that came together with good ones.
    if (this.#frames.length === 0 && !this.#ended) this.#decoder.push(NOTHING);
    while (this.#frames.length === 0) {
      if (this.#ended) return undefined;
      const bytes = await this.#stream.read(options);
      if (bytes === undefined) {
        this.#decoder.end();
        this.#ended = true;
      } else {
        this.#frames = this.#decoder.push(bytes).toReversed();
      }
    }
    const frame = this.#frames.pop()!;
    return frame.kind === "bytes"
      ? { kind: "bytes", bytes: frame.body }
      : { kind: "message", message: decodeMessage(frame.body), body: frame.body };
  }

  /**
   * Check that the peer said nothing more and ended the stream, which also sets its place free for another one.
   * @throws {RksError} MESSAGE_UNEXPECTED when there is more, and as `receive`.
   */
  async receiveEnd(options: CallOptions = {}): Promise<void> {
    const received = await this.receive(options);
    if (received === undefined) return;
    const what = received.kind === "message" ? received.message.type : "raw bytes";
    throw new RksError("MESSAGE_UNEXPECTED", `${what} came where the end of the stream was expected`);
  }

  /** The next frame, which must be a message. @throws {RksError} MESSAGE_TRUNCATED at the end, MESSAGE_UNEXPECTED for bytes. */
  async receiveMessage(options: CallOptions = {}): Promise<{ message: RksMessage; body: Uint8Array }> {
    const received = await this.receive(options);
    if (received === undefined) {
      throw new RksError("MESSAGE_TRUNCATED", "the stream ended where a message was expected");
    }
    if (received.kind === "bytes") {
      throw new RksError("MESSAGE_UNEXPECTED", "raw bytes came where a message was expected");
    }
    return received;
  }
}
