import type { Stream } from "@rk8s/protocol";
import { streamError, streamResetHere } from "./error.js";
import type { NativeConnection } from "./native-binding.js";
import { SHUTDOWN_READ, SHUTDOWN_WRITE } from "./native-binding.js";

/** What a stream needs of its connection. */
export interface StreamHost {
  readonly native: NativeConnection;
  /** A buffer for one native read; free again after it. */
  readonly scratch: Uint8Array;
  /** The stream has queued something to send, or has made room for more. */
  flushSoon(): void;
  /** The stream has bytes that the native stream did not take; `pump()` it before the next flush. */
  block(stream: QuicStream): void;
  /** Both directions are done. */
  forget(stream: QuicStream): void;
}

interface PendingRead {
  readonly resolve: (bytes: Uint8Array | undefined) => void;
  readonly reject: (reason: unknown) => void;
  readonly detach: () => void;
}

interface PendingWrite {
  bytes: Uint8Array;
  hasBegun: boolean;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  readonly detach: () => void;
}

const NOTHING = new Uint8Array(0);

/**
 * A bidirectional stream (RFC 9000 §2). Received bytes stay in the native connection, and so count against the
 * flow-control window, until somebody reads; at most one chunk is held here. Written bytes that the native connection does
 * not take stay with their `write`, which waits.
 */
export class QuicStream implements Stream {
  readonly id: number;
  readonly #host: StreamHost;
  #chunk: Uint8Array | undefined;
  #reader: PendingRead | undefined;
  #isReadDone = false;
  #readError: Error | undefined;
  #writes: PendingWrite[] = [];
  #isEnding = false;
  #isWriteDone = false;
  #writeError: Error | undefined;

  constructor(id: number, host: StreamHost) {
    this.id = id;
    this.#host = host;
  }

  // The two methods below are not `async`: a read or write that can be served at once costs one promise.
  read(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Uint8Array | undefined> {
    const { signal } = options;
    if (this.#reader !== undefined)
      return Promise.reject(new TypeError("another read of this stream is waiting"));
    if (signal?.aborted === true) return Promise.reject(asError(signal.reason));
    if (this.#chunk === undefined) this.pull();
    const chunk = this.#chunk;
    if (chunk !== undefined) {
      this.#chunk = undefined;
      this.pull();
      return Promise.resolve(chunk);
    }
    if (this.#readError !== undefined) return Promise.reject(this.#readError);
    if (this.#isReadDone) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const detach = onAbort(signal, () => {
        this.#reader = undefined;
        reject(asError(signal?.reason));
      });
      this.#reader = { resolve, reject, detach };
    });
  }

  write(bytes: Uint8Array, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = options;
    if (this.#isEnding)
      return Promise.reject(new TypeError("the stream was ended; nothing can be written after that"));
    if (signal?.aborted === true) return Promise.reject(asError(signal.reason));
    if (this.#writeError !== undefined) return Promise.reject(this.#writeError);
    let rest = bytes;
    if (this.#writes.length === 0) {
      rest = bytes.subarray(this.#send(bytes, false));
      if (this.#writeError !== undefined) return Promise.reject(this.#writeError);
      if (rest.length === 0) return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const write: PendingWrite = {
        bytes: rest,
        hasBegun: rest.length < bytes.length,
        resolve,
        reject,
        detach: onAbort(signal, () => this.#abortWrite(write, signal?.reason)),
      };
      this.#writes.push(write);
      this.#host.block(this);
    });
  }

  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    if (this.#writes.length === 0) this.#sendEnd();
  }

  reset(code = 0): void {
    if (this.#isReadDone && this.#isWriteDone) return;
    this.#shutdown(SHUTDOWN_READ, code);
    this.#shutdown(SHUTDOWN_WRITE, code);
    this.fail(streamResetHere(code));
    this.#host.flushSoon();
  }

  /** Give up both directions without telling the peer; what is pending and what comes later is rejected. */
  fail(error: Error): void {
    this.#chunk = undefined;
    this.#failRead(error);
    this.#failWrite(error);
    this.#forgetWhenDone();
  }

  /** The connection is gone: fail, but let what has been received be read first. */
  lose(error: Error): void {
    if (!this.#isReadDone) this.#readError ??= error;
    this.#takeReader()?.reject(error);
    this.#failWrite(error);
  }

  /** Whether reading has failed. */
  get isReadFailed(): boolean {
    return this.#readError !== undefined;
  }

  /** Take what the native connection has, if somebody waits for it or nothing is held here yet. */
  pull(): void {
    if (this.#isReadDone || this.#chunk !== undefined) return;
    const { native, scratch } = this.#host;
    let received;
    try {
      received = native.streamRecv(this.id, scratch);
    } catch (reason) {
      this.#pullFailed(reason);
      return;
    }
    if (received === null) return;
    const [length, isEnd] = received;
    this.#host.flushSoon(); // the peer may send more now
    if (isEnd) this.#isReadDone = true;
    if (length > 0) this.#deliver(scratch.slice(0, length));
    if (isEnd) {
      if (this.#chunk === undefined) this.#takeReader()?.resolve(undefined);
      this.#forgetWhenDone();
    }
  }

  /** Offer what waits to be sent to the native connection. @returns whether some of it is still waiting. */
  pump(): boolean {
    for (;;) {
      const [write] = this.#writes;
      if (write === undefined) break;
      const sent = this.#send(write.bytes, false);
      if (this.#isWriteDone) return false;
      if (sent > 0) write.hasBegun = true;
      write.bytes = write.bytes.subarray(sent);
      if (write.bytes.length > 0) return true;
      this.#writes.shift();
      write.detach();
      write.resolve();
    }
    if (this.#isEnding && !this.#isWriteDone) this.#sendEnd();
    return this.#isEnding && !this.#isWriteDone;
  }

  #deliver(bytes: Uint8Array): void {
    const reader = this.#takeReader();
    if (reader === undefined) this.#chunk = bytes;
    else reader.resolve(bytes);
  }

  #pullFailed(reason: unknown): void {
    // Nothing has come yet on a stream that this side opened.
    if (reason instanceof Error && reason.message.startsWith("Done")) return;
    const error = streamError(reason);
    this.#failRead(error);
    // A peer that resets gives up both directions, but quiche 0.18 does not repeat a STOP_SENDING that was lost.
    if (!this.#isWriteDone) {
      this.#shutdown(SHUTDOWN_WRITE, 0);
      this.#failWrite(error);
      this.#host.flushSoon();
    }
    this.#forgetWhenDone();
  }

  #send(bytes: Uint8Array, isEnd: boolean): number {
    try {
      const sent = this.#host.native.streamSend(this.id, bytes, isEnd);
      if (sent === null) {
        // Also what a stream that is over on both sides answers; only this call tells it from a full one.
        this.#host.native.streamCapacity(this.id);
        return 0;
      }
      this.#host.flushSoon();
      if (isEnd) this.#isWriteDone = true;
      return sent;
    } catch (reason) {
      this.#failWrite(streamError(reason));
      this.#forgetWhenDone();
      return 0;
    }
  }

  #sendEnd(): void {
    if (this.#isWriteDone) return;
    this.#send(NOTHING, true);
    if (this.#isWriteDone) this.#forgetWhenDone();
    else this.#host.block(this);
  }

  #abortWrite(write: PendingWrite, reason: unknown): void {
    const index = this.#writes.indexOf(write);
    if (index === -1) return;
    this.#writes.splice(index, 1);
    write.reject(asError(reason));
    // Half a write cannot be taken back, and nothing that follows it would make sense to the peer.
    if (write.hasBegun) this.reset();
    else if (this.#isEnding && this.#writes.length === 0) this.#sendEnd();
  }

  #shutdown(direction: typeof SHUTDOWN_READ | typeof SHUTDOWN_WRITE, code: number): void {
    try {
      this.#host.native.streamShutdown(this.id, direction, code);
    } catch {
      // That direction is already done.
    }
  }

  #failRead(error: Error): void {
    this.#isReadDone = true;
    this.#readError ??= error;
    this.#takeReader()?.reject(this.#readError);
  }

  #failWrite(error: Error): void {
    this.#isWriteDone = true;
    this.#writeError ??= error;
    const writes = this.#writes;
    this.#writes = [];
    for (const write of writes) {
      write.detach();
      write.reject(this.#writeError);
    }
  }

  #takeReader(): PendingRead | undefined {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.detach();
    return reader;
  }

  #forgetWhenDone(): void {
    if (this.#isReadDone && this.#isWriteDone) this.#host.forget(this);
  }
}

const NO_SIGNAL = (): void => undefined;

/** Call `listener` once when `signal` is aborted; the result takes that back. */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return NO_SIGNAL;
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}

/** An abort reason or a stored failure as something that may be thrown. */
export function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason });
}
