import { RksError } from "../errors.js";
import type { Stream } from "../transport.js";
import { Bell } from "./bell.js";
import type { MemoryFault } from "./memory-fault.js";

/** What a stream needs of the connection it belongs to. */
export interface MemoryStreamHost {
  /** Call `deliver` at the other end, after everything sent before. */
  send(deliver: () => void): void;
  /** The fault that hits this side's bytes on a stream that begins to carry some. */
  takeFault(): MemoryFault | undefined;
  /** Lose the whole connection, both sides at once. */
  lose(): void;
  /** The stream is over in both directions. */
  released(stream: MemoryStream): void;
}

type SendState = "open" | "ended" | "reset";
type ReceiveState = "open" | "ended" | "reset";

/** One end of a stream in memory. The sender spends credit and gets it back as the receiver reads. */
export class MemoryStream implements Stream {
  readonly #host: MemoryStreamHost;
  #peer: MemoryStream | undefined;
  readonly #chunks: Uint8Array[] = [];
  readonly #readable = new Bell();
  readonly #writable = new Bell();
  #credit: number;
  #sending: SendState = "open";
  #receiving: ReceiveState = "open";
  #endWasRead = false;
  #released = false;
  #readInProgress = false;
  #writeInProgress = false;
  #failure: Error | undefined;
  #fault: MemoryFault | undefined;
  #sentBytes: number | undefined;

  constructor(host: MemoryStreamHost, bufferBytes: number) {
    this.#host = host;
    this.#credit = bufferBytes;
  }

  /** Make two ends one stream. */
  static join(a: MemoryStream, b: MemoryStream): void {
    a.#peer = b;
    b.#peer = a;
  }

  async read(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Uint8Array | undefined> {
    if (this.#readInProgress) throw new TypeError("a read is already in progress");
    this.#readInProgress = true;
    try {
      options.signal?.throwIfAborted();
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure;
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#host.send(() => this.#peer?.grant(chunk.length));
          return chunk;
        }
        if (this.#receiving === "ended") {
          this.#endWasRead = true;
          this.#release();
          return undefined;
        }
        await this.#readable.wait(options.signal);
      }
    } finally {
      this.#readInProgress = false;
    }
  }

  async write(bytes: Uint8Array, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#writeInProgress) throw new TypeError("a write is already in progress");
    if (this.#sending === "ended") throw new TypeError("the stream was ended by this side");
    this.#writeInProgress = true;
    try {
      options.signal?.throwIfAborted();
      for (let at = 0; at < bytes.length;) {
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#credit === 0) {
          await this.#writable.wait(options.signal);
          continue;
        }
        const piece = bytes.slice(at, at + this.#credit);
        at += piece.length;
        this.#credit -= piece.length;
        this.#send(piece);
      }
      if (this.#failure !== undefined) throw this.#failure;
    } finally {
      this.#writeInProgress = false;
    }
  }

  end(): void {
    if (this.#sending !== "open" || this.#failure !== undefined) return;
    this.#sending = "ended";
    if (!this.#faultHit()) this.#host.send(() => this.#peer?.receiveEnd());
    this.#release();
  }

  reset(code = 0): void {
    if (this.#failure !== undefined || (this.#sending === "ended" && this.#endWasRead)) return;
    this.fail(new RksError("STREAM_RESET", `the stream was reset by this side with code ${code}`));
    this.#host.send(() => this.#peer?.receiveReset(code));
  }

  /** The connection or a reset ended the stream: whatever waits is rejected, what was not read is dropped. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#chunks.length = 0;
    this.#readable.ring();
    this.#writable.ring();
    this.#release();
  }

  grant(bytes: number): void {
    this.#credit += bytes;
    this.#writable.ring();
  }

  receive(chunk: Uint8Array): void {
    if (this.#receiving !== "open" || this.#failure !== undefined) return;
    this.#chunks.push(chunk);
    this.#readable.ring();
  }

  receiveEnd(): void {
    if (this.#receiving !== "open") return;
    this.#receiving = "ended";
    this.#readable.ring();
  }

  receiveReset(code: number): void {
    // A stream that both sides ended properly has nothing left to give up (RFC 9000 §3.2).
    if (this.#receiving === "ended" && this.#sending === "ended") return;
    this.#receiving = "reset";
    this.fail(new RksError("STREAM_RESET", `the stream was reset by the peer with code ${code}`));
  }

  #send(piece: Uint8Array): void {
    if (this.#sentBytes === undefined) {
      this.#sentBytes = 0;
      this.#fault = this.#host.takeFault();
    }
    const before = this.#sentBytes;
    this.#sentBytes += piece.length;
    const fault = this.#fault;
    const passing = fault === undefined ? piece.length : Math.max(0, fault.afterBytes - before);
    if (passing > 0) this.#host.send(() => this.#peer?.receive(piece.subarray(0, passing)));
    if (fault === undefined || passing >= piece.length || before > fault.afterBytes) return;
    this.#host.send(() => this.#strike(fault));
  }

  #strike(fault: MemoryFault): void {
    if (fault.effect === "truncate") this.#peer?.receiveEnd();
    else if (fault.effect === "reset") this.#peer?.receiveReset(0);
    else if (fault.effect === "lose") this.#host.lose();
  }

  /** Whether bytes were already swallowed, so that the end must not arrive either. */
  #faultHit(): boolean {
    return this.#fault !== undefined && (this.#sentBytes ?? 0) > this.#fault.afterBytes;
  }

  #release(): void {
    if (this.#released) return;
    if (this.#failure === undefined && !(this.#sending === "ended" && this.#endWasRead)) return;
    this.#released = true;
    this.#host.released(this);
  }
}
