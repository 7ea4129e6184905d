import {
  LIMITS,
  MessageStream,
  type MessageType,
  RksError,
  type RksMessage,
  type Stream,
} from "@rk8s/protocol";
import { DISPATCH_TABLE, type Rule } from "./dispatch-table.js";
import { questionOf } from "./authority.js";
import type { CallerKind, Conversation, Exchange, Services } from "./exchange.js";
import { StreamDeadline } from "./stream-deadline.js";
import { asOperator } from "./operator-request.js";

/** What is read and thrown away behind a refused request, so that its sender gets to read the refusal. */
const MAX_DRAINED_BYTES = 2 * LIMITS.maxMessageBytes;

export interface ServeStreamOptions {
  readonly maxMessageBytes: number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/**
 * Answer the one request of a stream, every wait with a deadline. Whatever is wrong with it gets a coded error
 * and harms nothing else. Never rejects.
 */
export async function serveStream(
  stream: Stream,
  conversation: Conversation,
  services: Services,
  options: ServeStreamOptions,
): Promise<void> {
  const messages = new MessageStream(stream, { maxFrameBytes: options.maxMessageBytes });
  using deadline = new StreamDeadline({ clock: services.clock, signal: options.signal });
  let afterAnswer: (() => void) | undefined;
  let type: MessageType | "unreadable" = "unreadable";
  try {
    const { message, body } = await deadline.limit("the request did not arrive", (signal) =>
      messages.receiveMessage({ signal }),
    );
    type = message.type;
    const answer = await dispatch(services, {
      ...options,
      message,
      body,
      conversation,
      stream: messages,
      afterAnswer(work) {
        afterAnswer = work;
      },
    });
    if (answer !== undefined) await send(answer, messages, deadline);
    services.meter.answered(type, "done");
  } catch (reason) {
    services.meter.answered(type, RksError.from(reason).code);
    await refuse(RksError.from(reason), messages, conversation, {
      signal: options.signal,
      services,
      deadline,
    });
  }
  messages.end();
  afterAnswer?.();
  await drain(stream, deadline);
}

/** Answer a stream's request with an error, unread. Never rejects. */
export async function refuseStream(
  stream: Stream,
  error: RksError,
  services: Services,
  options: ServeStreamOptions,
): Promise<void> {
  const messages = new MessageStream(stream);
  using deadline = new StreamDeadline({ clock: services.clock, signal: options.signal });
  await refuse(error, messages, { actor: "a refused peer" }, { signal: options.signal, services, deadline });
  messages.end();
  await drain(stream, deadline);
}

/**
 * Let the table's handler answer, when the caller is one of those who may send the message.
 * @throws {RksError} PERMISSION_DENIED, MESSAGE_UNEXPECTED before Hello, and whatever the handler throws.
 */
async function dispatch<T extends MessageType>(
  services: Services,
  exchange: Exchange<T>,
): Promise<RksMessage | undefined> {
  const { message, conversation } = exchange;
  const rule: Rule<T> = DISPATCH_TABLE[message.type];
  const { kind, isGreeted } = conversation;
  const greeted: CallerKind = kind === "nobody" ? "bootstrapping" : kind;
  const who: readonly CallerKind[] = rule.who;
  if (rule.handle === undefined || !(who.includes(kind) || who.includes(greeted))) {
    throw new RksError("PERMISSION_DENIED", `${conversation.actor} may not send ${message.type}`, {
      suggestion: "Send only what the protocol allows in this phase of the connection.",
    });
  }
  if (!isGreeted && message.type !== "Hello") {
    throw new RksError("MESSAGE_UNEXPECTED", `${message.type} came before Hello`, {
      suggestion: "Say Hello first on every connection.",
    });
  }
  const { handle, asks } = rule;
  const { authority } = conversation;
  if (authority === undefined || message.type === "Hello") return handle(services, exchange);
  if (asks === undefined) throw new RksError("INTERNAL", `no policy decides about ${message.type}`);
  const values: Readonly<Record<string, unknown>> = asks.of?.(message) ?? { ...message };
  return asOperator(authority, questionOf(asks, values), () => handle(services, exchange), services);
}

async function send(message: RksMessage, messages: MessageStream, deadline: StreamDeadline): Promise<void> {
  await deadline.limit("the answer was not taken", (signal) => messages.send(message, { signal }));
}

async function refuse(
  error: RksError,
  messages: MessageStream,
  { actor }: Pick<Conversation, "actor">,
  {
    services,
    signal,
    deadline,
  }: { readonly services: Services; readonly signal: AbortSignal; readonly deadline: StreamDeadline },
): Promise<void> {
  const { logger } = services;
  if (signal.aborted) return;
  if (error.code === "INTERNAL") logger.error("Request failed", { actor, cause: error.cause });
  else logger.debug("Request refused", { actor, code: error.code, reason: error.message });
  try {
    await send({ type: "Error", ...error.toJSON() }, messages, deadline);
  } catch {
    messages.reset();
  }
}

/** Wait for the peer's end, so that the stream's place is free again; a peer that goes on is cut off. */
async function drain(stream: Stream, deadline: StreamDeadline): Promise<void> {
  try {
    await deadline.limit("the stream did not end", async (signal) => {
      let left = MAX_DRAINED_BYTES;
      for (;;) {
        const bytes = await stream.read({ signal });
        if (bytes === undefined) return;
        left -= bytes.length;
        if (left < 0) throw new RksError("MESSAGE_TOO_LARGE", "more came behind a request");
      }
    });
  } catch {
    stream.reset();
  }
}
