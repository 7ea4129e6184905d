import { RksError, type Message, type MessageType, type RksMessage } from "@rk8s/protocol";

export interface HandlerContext {
  /** Aborted when the connection that asked has ended, unless its answer goes on over another one, or the agent stops. */
  readonly signal: AbortSignal;
}

/** What a handler answers: a message, or a message and raw bytes after it; nothing means `Ack`. */
export type Reply = RksMessage | BytesReply | undefined;

/**
 * An answer that goes on after its message, to `GetPodLogs`. When the connection is replaced meanwhile, the rest comes
 * over the new one.
 */
export interface BytesReply {
  readonly message: RksMessage;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/**
 * Answers one kind of message from the control plane. What it throws is sent as a coded error: throw `RksError`;
 * anything else becomes `INTERNAL` and is logged.
 */
export type Handler<T extends MessageType> = (
  message: Message<T>,
  context: HandlerContext,
) => Promise<Reply | void> | Reply | void;

/** Handlers by message. What has none is answered with MESSAGE_UNEXPECTED. */
export type Handlers = { readonly [T in MessageType]?: Handler<T> };

/**
 * Let the handler of the message's type answer it.
 * @throws {RksError} MESSAGE_UNEXPECTED when there is none; whatever the handler throws.
 */
export async function handleMessage(
  handlers: Handlers,
  message: RksMessage,
  context: HandlerContext,
): Promise<Reply | void> {
  const handler = handlers[message.type] as Handler<MessageType> | undefined;
  if (handler === undefined) {
    throw new RksError("MESSAGE_UNEXPECTED", `this node does not answer ${message.type}`);
  }
  return handler(message, context);
}
