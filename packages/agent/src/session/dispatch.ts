import {
  LIMITS,
  MessageStream,
  RksError,
  withDeadline,
  type Clock,
  type Logger,
  type Stream,
} from "@rk8s/protocol";
import { handleMessage, type Handlers, type Reply } from "./handlers.js";

export interface DispatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Requests that are answered at once; further ones get BUSY. Default: as many streams as a peer may open. */
  readonly maxConcurrent?: number;
  /** Ends every request that is still being answered. */
  readonly signal: AbortSignal;
}

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
  const messages = new MessageStream(stream);
  try {
    if (handlers === undefined) throw new RksError("BUSY", "this node answers too many requests at once");
    const message = await receiveRequest(messages, options);
    await sendReply(messages, await handleMessage(handlers, message, options), options);
  } catch (reason) {
    await sendError(messages, reason, options);
  }
}

async function receiveRequest(messages: MessageStream, options: DispatchOptions) {
  const { message } = await withDeadline(async (signal) => messages.receiveMessage({ signal }), {
    ...options,
    timeoutMs: LIMITS.requestTimeoutMs,
    attempt: "a request did not arrive",
  });
  return message;
}

async function sendReply(
  messages: MessageStream,
  reply: Reply | void,
  options: DispatchOptions,
): Promise<void> {
  const { signal } = options;
  const { message, bytes } =
    reply !== undefined && "message" in reply && "bytes" in reply
      ? reply
      : { message: reply ?? { type: "Ack" as const }, bytes: undefined };
  await messages.send(message, { signal });
  if (bytes !== undefined) {
    for await (const chunk of bytes) await messages.sendBytes(chunk, { signal });
  }
  messages.end();
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
