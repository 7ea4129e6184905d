import type { IncomingMessage, ServerResponse } from "node:http";
import { FRAMES_MEDIA_TYPE, RksError, type Stream } from "@rk8s/protocol";

/**
 * One HTTP exchange as a stream of the transport: the request's body is read, what is written is the response's
 * body. Both directions run at the same time.
 */
export class HttpStream implements Stream {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  async read(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Uint8Array | undefined> {
    for (;;) {
      options.signal?.throwIfAborted();
      const chunk = this.#request.read() as Buffer | null;
      if (chunk !== null) return Uint8Array.from(chunk);
      if (this.#request.readableEnded) return undefined;
      if (this.#request.destroyed) throw gone();
      await firstEvent(this.#request, ["readable", "end", "close", "error"], options.signal);
    }
  }

  async write(bytes: Uint8Array, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (this.#response.destroyed || this.#response.writableEnded) throw gone();
    if (!this.#response.headersSent) {
      this.#response.writeHead(200, {
        "content-type": FRAMES_MEDIA_TYPE,
        "cache-control": "no-store",
      });
    }
    // A copy: the caller may change its bytes as soon as this resolves, the socket may still hold them then.
    if (this.#response.write(Uint8Array.from(bytes))) return;
    await firstEvent(this.#response, ["drain", "close", "error"], options.signal);
    if (this.#response.destroyed) throw gone();
  }

  end(): void {
    if (!this.#response.writableEnded && !this.#response.destroyed) this.#response.end();
  }

  reset(): void {
    this.#response.destroy();
  }
}

interface Emitter {
  on(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
}

function firstEvent(
  emitter: Emitter,
  events: readonly string[],
  signal: AbortSignal | undefined,
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
      reject(RksError.from(signal?.reason));
    };
    for (const event of events) emitter.on(event, done);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

function gone(): RksError {
  return new RksError("STREAM_RESET", "the other side of the socket is gone");
}
