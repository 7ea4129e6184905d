import {
  LIMITS,
  MessageStream,
  RksError,
  withDeadline,
  type Clock,
  type Logger,
  type RksMessage,
  type Stream,
} from "@rk8s/protocol";
import { handleMessage, type Handlers } from "./handlers.js";

export interface DispatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Requests that are answered at once; further ones get BUSY. Default: as many streams as a peer may open. */
  readonly maxConcurrent?: number;
  /** Ends every request that is still being answered. */
  readonly signal: AbortSignal;
}

/** A reader that is gone must not hold a stream for longer than this. */
const PEER_CHECK_MS = 5000;

/**
 * Answer what the control plane asks, one request a stream, until there are no more streams. Resolves when every
 * answer is out. A request that cannot be read or handled gets a coded error and harms no other.
 */
export async function serveRequests(
  streams: AsyncIterable<Stream>,
  handlers: Handlers,
  options: DispatchOptions,
): Promise<void> {
  const { maxConcurrent = LIMITS.maxStreamsPerConnection } = options;
  const active = new Set<Promise<void>>();
  for await (const stream of streams) {
    const work = active.size < maxConcurrent ? handlers : undefined;
    const done = serveRequest(stream, work, options).finally(() => active.delete(done));
    active.add(done);
  }
  await Promise.all(active);
}

/** Never rejects. Without handlers the request is refused unread. */
async function serveRequest(
  stream: Stream,
  handlers: Handlers | undefined,
  options: DispatchOptions,
): Promise<void> {
  const over = new AbortController();
  const own = { ...options, signal: AbortSignal.any([options.signal, over.signal]) };
  const messages = new MessageStream(stream);
  try {
    if (handlers === undefined) throw new RksError("BUSY", "this node answers too many requests at once");
    const message = await receiveRequest(messages, own);
    const reply = (await handleMessage(handlers, message, own)) ?? { type: "Ack" };
    const isMessage = "type" in reply;
    await messages.send(isMessage ? reply : reply.message, own);
    if (!isMessage) await sendBytes(stream, reply.bytes, own);
    messages.end();
  } catch (reason) {
    await sendError(messages, reason, options);
  } finally {
    over.abort();
  }
}

async function receiveRequest(messages: MessageStream, options: DispatchOptions): Promise<RksMessage> {
  const { message } = await withDeadline(async (signal) => messages.receiveMessage({ signal }), {
    ...options,
    timeoutMs: LIMITS.requestTimeoutMs,
    attempt: "a request did not arrive",
  });
  return message;
}

/** Send chunks as they come; while none comes, look now and then whether anybody still wants them. */
async function sendBytes(
  stream: Stream,
  bytes: AsyncIterable<Uint8Array>,
  options: DispatchOptions,
): Promise<void> {
  const { signal } = options;
  const messages = new MessageStream(stream);
  const chunks = bytes[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = chunks.next();
      let chunk = await within(next, options);
      while (chunk === "nothing yet") {
        // A write of nothing puts nothing on the wire, but fails when the peer has given the stream up.
        await stream.write(new Uint8Array(0), { signal });
        chunk = await within(next, options);
      }
      if (chunk.done === true) return;
      await messages.sendBytes(chunk.value, { signal });
    }
  } finally {
    // Not awaited: a source that waits for more ends only when the request's signal is aborted, which comes next.
    chunks.return?.().catch(() => undefined);
  }
}

/** What the promise gives, unless that takes longer than a look at the peer is due. */
async function within<T>(work: Promise<T>, options: DispatchOptions): Promise<T | "nothing yet"> {
  const { clock, signal } = options;
  const settled = new AbortController();
  const time = clock
    .sleep(PEER_CHECK_MS, { signal: AbortSignal.any([signal, settled.signal]) })
    .then(() => "nothing yet" as const);
  // The loser of the race may fail later; nobody waits for it any more.
  work.catch(() => undefined);
  time.catch(() => undefined);
  try {
    return await Promise.race([work, time]);
  } finally {
    settled.abort();
  }
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
