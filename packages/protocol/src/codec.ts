import { z } from "zod";
import { fromUtf8, utf8 } from "./bytes.js";
import { RksError } from "./errors.js";
import { MESSAGE_SCHEMAS, type MessageType, type RksMessage } from "./message.js";

/**
 * A message as JSON bytes, externally tagged: `{"Heartbeat":{…}}`, or `"Ack"` for a message without a body.
 * @throws {RksError} MESSAGE_INVALID when a field is out of its bounds.
 */
export function encodeMessage(message: RksMessage): Uint8Array {
  const { type, ...body } = message;
  const schema = MESSAGE_SCHEMAS[type];
  if (schema instanceof z.ZodUndefined) return utf8(JSON.stringify(type));
  const encoded = z.safeEncode(schema as z.ZodType, body);
  if (!encoded.success) throw invalid(type, encoded.error);
  return utf8(JSON.stringify({ [type]: encoded.data }));
}

/**
 * Read a message. Fields that this version does not know are ignored.
 * @throws {RksError} MESSAGE_INVALID for what is not JSON or has the wrong shape (naming the path of the value),
 * MESSAGE_UNKNOWN for a tag that this version does not know.
 */
export function decodeMessage(bytes: Uint8Array): RksMessage {
  const [type, body] = untag(parseJson(bytes));
  const schema: z.ZodType = MESSAGE_SCHEMAS[type];
  const decoded = schema.safeParse(body);
  if (!decoded.success) throw invalid(type, decoded.error);
  return { type, ...(decoded.data as object | undefined) } as RksMessage;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new RksError("MESSAGE_INVALID", "a message is not JSON in UTF-8", { cause });
  }
}

function untag(value: unknown): [MessageType, unknown] {
  if (typeof value === "string") return [knownType(value), undefined];
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw notTagged();
  const entries = Object.entries(value);
  const [first] = entries;
  if (first === undefined || entries.length !== 1) throw notTagged();
  return [knownType(first[0]), first[1]];
}

function notTagged(): RksError {
  return new RksError("MESSAGE_INVALID", 'a message must look like {"Type":{…}} or "Type"');
}

function knownType(tag: string): MessageType {
  if (Object.hasOwn(MESSAGE_SCHEMAS, tag)) return tag as MessageType;
  throw new RksError("MESSAGE_UNKNOWN", `message ${JSON.stringify(tag.slice(0, 64))} is unknown`, {
    suggestion: "Update the older side.",
  });
}

function invalid(type: MessageType, error: z.ZodError): RksError {
  const issue = error.issues[0]!;
  const path = issue.path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("");
  return new RksError("MESSAGE_INVALID", `${type}${path}: ${issue.message.toLowerCase()}`);
}
