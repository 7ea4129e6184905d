import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable, Writable } from "node:stream";
import { FRAMES_MEDIA_TYPE, RksError, type Stream } from "@rk8s/protocol";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface HttpStreamInit {
  /** What the other side writes; on the client's side it comes with the head of the answer. */
  readonly incoming: Promise<Readable>;
  readonly outgoing: Writable;
  /** What to throw when the exchange breaks. */
  readonly broken: (cause: unknown) => RksError;
}

/**
 * The server's side of an exchange as a stream. The head of the answer, 200 with frames, goes out with the first byte:
 * until then the exchange may still be answered otherwise. Reading and writing fail with STREAM_RESET once the client
 * is gone.
 */
export function serverStream(request: IncomingMessage, response: ServerResponse): Stream {
  response.setHeader("content-type", FRAMES_MEDIA_TYPE);
  response.setHeader("cache-control", "no-store");
  return new HttpStream({
    incoming: Promise.resolve(request),
    outgoing: response,
    broken: (cause) => new RksError("STREAM_RESET", "the other side of the socket is gone", { cause }),
  });
}

/** One HTTP exchange as a stream of the transport: one body is read, the other written, both at the same time. */
export class HttpStream implements Stream {
  readonly #incoming: Promise<Readable>;
  readonly #outgoing: Writable;
  readonly #broken: (cause: unknown) => RksError;

  constructor(init: HttpStreamInit) {
    this.#incoming = init.incoming;
    this.#outgoing = init.outgoing;
    this.#broken = init.broken;
    // Who reads sees it; who only writes sees it there.
    this.#incoming.catch(() => undefined);
  }

  async read(options: CallOptions = {}): Promise<Uint8Array | undefined> {
    const { signal } = options;
    signal?.throwIfAborted();
    const incoming = await this.#orAborted(this.#incoming, signal);
    for (;;) {
      signal?.throwIfAborted();
      const chunk = incoming.read() as Uint8Array | null;
      if (chunk !== null) return Uint8Array.from(chunk);
      if (incoming.readableEnded) return undefined;
      if (incoming.destroyed) throw this.#broken(incoming.errored);
      await firstEvent(incoming, ["readable", "end", "close", "error"], signal);
    }
  }

  async write(bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (this.#outgoing.destroyed || this.#outgoing.writableEnded) throw this.#broken(this.#outgoing.errored);
    // A copy: the caller may change its bytes as soon as this resolves, the socket may still hold them then.
    if (this.#outgoing.write(Uint8Array.from(bytes))) return;
    await firstEvent(this.#outgoing, ["drain", "close", "error"], options.signal);
    if (this.#outgoing.destroyed) throw this.#broken(this.#outgoing.errored);
  }

  end(): void {
    if (!this.#outgoing.destroyed) this.#outgoing.end();
  }

  reset(): void {
    this.#outgoing.destroy();
    this.#incoming.then(
      (incoming) => incoming.destroy(),
      () => undefined,
    );
  }

  async #orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal === undefined) return promise;
    let stop!: () => void;
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener("abort", stop, { once: true });
    });
    try {
      return await Promise.race([promise, aborted]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }
}

function firstEvent(
  emitter: Readable | Writable,
  events: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      for (const event of events) emitter.off(event, done);
      signal?.removeEventListener("abort", aborted);
    };
    const done = (): void => {
      stop();
      resolve();
    };
    const aborted = (): void => {
      stop();
      reject(signal?.reason as Error);
    };
    for (const event of events) emitter.on(event, done);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}
