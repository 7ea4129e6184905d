import type { Clock } from "./clock.js";
import { withDeadline } from "./deadline.js";
import { type ErrorCode, RksError } from "./errors.js";
import { LIMITS } from "./limits.js";
import type { Message, MessageType, RksMessage } from "./message.js";
import { MessageStream } from "./message-stream.js";
import type { Stream } from "./transport.js";

const GONE: readonly ErrorCode[] = ["CONNECTION_LOST", "STREAM_RESET"];

/** Where requests go: a connection, or anything else that opens byte streams to the same peer. */
export interface StreamOpener {
  openStream(options?: { readonly signal?: AbortSignal | undefined }): Promise<Stream>;
}

export interface RequestOptions {
  readonly clock: Clock;
  /** Default: LIMITS.requestTimeoutMs. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer<T extends MessageType> {
  readonly message: Message<T>;
  /** The request's body as sent. */
  readonly sentBody: Uint8Array;
  /** The answer's body as received. */
  readonly body: Uint8Array;
}

/**
 * Ask one thing on a stream of its own and wait for the answer and the end of the stream behind it.
 * @throws {RksError} the peer's own error when it answers with `Error`; MESSAGE_UNEXPECTED when the answer is of
 * another type than `expected`; TIMED_OUT; and as the transport and the codec do.
 */
export function request<T extends MessageType>(
  peer: StreamOpener,
  message: RksMessage,
  expected: T,
  options: RequestOptions,
): Promise<Answer<T>> {
  return withDeadline(
    async (signal) => {
      const stream = new MessageStream(await peer.openStream({ signal }));
      try {
        const sentBody = await stream.send(message, { signal });
        stream.end();
        const { message: answer, body } = await stream.receiveMessage({ signal });
        const expectedAnswer = assertAnswer(answer, expected);
        await awaitEnd(stream, signal);
        return { message: expectedAnswer, sentBody, body };
      } catch (error) {
        stream.reset();
        throw error;
      }
    },
    {
      clock: options.clock,
      timeoutMs: options.timeoutMs ?? LIMITS.requestTimeoutMs,
      attempt: `${message.type} was not answered`,
      signal: options.signal,
    },
  );
}

/** A whole answer counts even when the peer closes at once behind it; more than one answer does not. */
async function awaitEnd(stream: MessageStream, signal: AbortSignal): Promise<void> {
  try {
    await stream.receiveEnd({ signal });
  } catch (error) {
    if (error instanceof RksError && GONE.includes(error.code)) return;
    throw error;
  }
}

/** The answer when it has the expected type. @throws {RksError} the peer's error, or MESSAGE_UNEXPECTED. */
export function assertAnswer<T extends MessageType>(answer: RksMessage, expected: T): Message<T> {
  if (answer.type === expected) return answer as Message<T>;
  if (answer.type === "Error") throw RksError.fromWire(answer);
  throw new RksError("MESSAGE_UNEXPECTED", `expected ${expected}, got ${answer.type}`);
}
