import {
  aborted,
  LIMITS,
  LinkedAbort,
  MessageStream,
  RksError,
  withDeadline,
  type Clock,
  type Logger,
  type RksMessage,
  type Stream,
} from "@rk8s/protocol";
import { handleMessage, type BytesReply, type Handlers } from "./handlers.js";
import type { LeftReply, MovedReplies, RestOfReply } from "./moved-replies.js";

export interface DispatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Requests that are answered at once; further ones get BUSY. Default: as many streams as a peer may open. */
  readonly maxConcurrent?: number;
  /** Ends every request that is still being answered. */
  readonly signal: AbortSignal;
  /** Where answers are left that go on over the connection that replaces this one. */
  readonly moved: MovedReplies;
}

/** A reader that is gone must not hold a stream for longer than this. */
const PEER_CHECK_MS = 5000;

/**
 * Answers what the control plane asks over one connection, one request a stream. A request that cannot be read or
 * handled gets a coded error and harms no other.
 */
export class RequestServer {
  readonly #handlers: Handlers;
  readonly #options: DispatchOptions;
  readonly #active = new Set<Promise<void>>();
  readonly #draining = new AbortController();
  #count = 0;

  constructor(handlers: Handlers, options: DispatchOptions) {
    this.#handlers = handlers;
    this.#options = options;
  }

  /** Answer until there are no more streams. Resolves when every answer is out. */
  async serve(streams: AsyncIterable<Stream>): Promise<void> {
    const { maxConcurrent = LIMITS.maxStreamsPerConnection } = this.#options;
    for await (const stream of streams) {
      const work = this.#active.size < maxConcurrent ? this.#handlers : undefined;
      const done = this.#answer(stream, work).finally(() => this.#active.delete(done));
      this.#count++;
      this.#active.add(done);
    }
    await Promise.all(this.#active);
  }

  /**
   * The connection was replaced: leave answers of bytes where they are. Resolves when these were asked for over another one,
   * every other is out, and nothing was asked for `quietMs`. Requests that still come are answered.
   * @throws the signal's reason when it is aborted.
   */
  async drain(quietMs: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#draining.abort();
    for (;;) {
      await Promise.race([Promise.all(this.#active), rejection(signal)]);
      const before = this.#count;
      await this.#options.clock.sleep(quietMs, { signal });
      if (this.#active.size === 0 && this.#count === before) return;
    }
  }

  /** Never rejects. Without handlers the request is refused unread. */
  async #answer(stream: Stream, handlers: Handlers | undefined): Promise<void> {
    // A signal of this request's own: many requests run at a time, and each listens.
    using request = new LinkedAbort(this.#options.signal);
    const { signal } = request;
    const options = { ...this.#options, signal };
    const messages = new MessageStream(stream);
    // The work's own life: it ends with the answer or the connection, unless it goes on over another connection.
    let life = new AbortController();
    const end = (): void => life.abort(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    let left: LeftReply | undefined;
    try {
      if (handlers === undefined) throw new RksError("BUSY", "this node answers too many requests at once");
      const message = await receiveRequest(messages, options);
      if (message.type === "GetPodLogs" && message.resume !== undefined) {
        const rest = this.#options.moved.take(message.resume);
        life = rest.life;
        left = await this.#sendBytes(stream, rest, options);
      } else {
        const reply = (await handleMessage(handlers, message, { signal: life.signal })) ?? { type: "Ack" };
        if ("type" in reply) await messages.send(reply, { signal });
        else left = await this.#sendBytes(stream, begin(reply, life), options);
      }
      messages.end();
    } catch (reason) {
      await sendError(messages, reason, options);
    } finally {
      signal.removeEventListener("abort", end);
      if (left === undefined) life.abort();
    }
    // Who asks for the rest has read what came before it; until then that may still be on its way.
    if (left !== undefined) await Promise.race([left.gone, aborted(signal)]);
  }

  /**
   * Send chunks as they come; while none comes, look now and then whether anybody still wants them. Resolves with
   * the rest, if it was left for another connection.
   */
  async #sendBytes(
    stream: Stream,
    reply: RestOfReply,
    options: DispatchOptions,
  ): Promise<LeftReply | undefined> {
    const { signal, moved } = options;
    const messages = new MessageStream(stream);
    const { chunks } = reply;
    using mayMove = new LinkedAbort(this.#draining.signal);
    let { next } = reply;
    let left: LeftReply | undefined;
    try {
      await messages.send(reply.message, { signal });
      for (;;) {
        const chunk = await within(next, mayMove.signal, options);
        if (chunk === "nothing yet") {
          // A write of nothing puts nothing on the wire, but fails when the peer has given the stream up.
          await stream.write(new Uint8Array(0), { signal });
        } else if (chunk === "moved") {
          left = moved.leave({ ...reply, next });
          const { resume } = left;
          // A place that the control plane does not hear of is given up after a while.
          await messages.send({ type: "LogsMoved", resume }, { signal }).catch(() => undefined);
          return left;
        } else {
          if (chunk.done === true) {
            await messages.endBytes({ signal });
            return undefined;
          }
          await messages.sendBytes(chunk.value, { signal });
          next = chunks.next();
        }
      }
    } finally {
      // Not awaited: a source that waits for more ends only when the request's signal is aborted, which comes next.
      if (left === undefined) chunks.return?.().catch(() => undefined);
    }
  }
}

function begin({ message, bytes }: BytesReply, life: AbortController): RestOfReply {
  const chunks = bytes[Symbol.asyncIterator]();
  const next = chunks.next();
  // It may fail before anybody waits for it.
  next.catch(() => undefined);
  return { message, chunks, next, life };
}

async function rejection(signal: AbortSignal): Promise<never> {
  signal.throwIfAborted();
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}

async function receiveRequest(messages: MessageStream, options: DispatchOptions): Promise<RksMessage> {
  const { message } = await withDeadline(async (signal) => messages.receiveMessage({ signal }), {
    ...options,
    timeoutMs: LIMITS.requestTimeoutMs,
    attempt: "a request did not arrive",
  });
  return message;
}

/** What the promise gives, unless the connection is replaced, or a look at the peer is due, before. */
async function within<T>(
  work: Promise<T>,
  mayMove: AbortSignal,
  { clock, signal }: DispatchOptions,
): Promise<T | "nothing yet" | "moved"> {
  if (mayMove.aborted) return "moved";
  using settled = new LinkedAbort(signal);
  const time = clock.sleep(PEER_CHECK_MS, { signal: settled.signal }).then(() => "nothing yet" as const);
  const move = new Promise<"moved">((resolve) => {
    mayMove.addEventListener("abort", () => resolve("moved"), { signal: settled.signal });
  });
  // The loser of the race may fail later; nobody waits for it any more.
  work.catch(() => undefined);
  time.catch(() => undefined);
  return await Promise.race([work, time, move]);
}

async function sendError(messages: MessageStream, reason: unknown, options: DispatchOptions): Promise<void> {
  const { logger, clock } = options;
  const error = RksError.from(reason);
  if (error.code === "INTERNAL") logger.error("Request failed", { code: error.code, cause: error.cause });
  else logger.debug("Request refused", { code: error.code, reason: error.message });
  try {
    await withDeadline(async (signal) => messages.send({ type: "Error", ...error.toJSON() }, { signal }), {
      clock,
      signal: options.signal,
      timeoutMs: LIMITS.requestTimeoutMs,
      attempt: "an error was not taken",
    });
    messages.end();
  } catch {
    // The peer is gone or reads no more; there is nobody left to tell.
    messages.reset();
  }
}
