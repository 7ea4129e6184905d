import { z } from "zod";
import { encodeBase64Url } from "./base64url.js";
import { fromUtf8, utf8 } from "./bytes.js";
import { RksError } from "./errors.js";
import { MESSAGE_SCHEMAS, type MessageType, type RksMessage } from "./message.js";

/**
 * A message as JSON bytes, externally tagged: `{"Heartbeat":{…}}`, or `"Ack"` for a message without a body. Fields that
 * the message does not have are not sent.
 * @throws {RksError} MESSAGE_INVALID when a field is out of its bounds.
 */
export function encodeMessage(message: RksMessage): Uint8Array {
  const { type, ...body } = message;
  const schema: z.ZodType = MESSAGE_SCHEMAS[type];
  if (schema instanceof z.ZodUndefined) return utf8(JSON.stringify(type));
  // Checked as the peer will: zod's own way back has no compiled form and takes three times as long.
  const wire = wireForm(body);
  const checked = schema.safeParse(wire);
  if (!checked.success) throw invalid(type, checked.error);
  const json = JSON.stringify({ [type]: knownPart(checked.data, wire) });
  assertWholeCharacters(json);
  return utf8(json);
}

/** The value with bytes as base64url, which is the one thing that JSON cannot say. */
function wireForm(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return encodeBase64Url(value);
  if (Array.isArray(value)) return value.map((item) => wireForm(item));
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, wireForm(field)]));
}

/** What the schema has taken of a wire form, in wire form: without unknown fields, with defaults. Bytes are not encoded twice. */
function knownPart(checked: unknown, wire: unknown): unknown {
  if (typeof checked !== "object" || checked === null) return checked;
  if (checked instanceof Uint8Array) return wire;
  if (Array.isArray(checked)) {
    const items = wire as readonly unknown[];
    return checked.map((item, i) => knownPart(item, items[i]));
  }
  const fields = wire as Readonly<Record<string, unknown>> | undefined;
  return Object.fromEntries(
    Object.entries(checked).map(([name, field]) => [name, knownPart(field, fields?.[name])]),
  );
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
  let json: string;
  let value: unknown;
  try {
    json = fromUtf8(bytes);
    value = JSON.parse(json);
  } catch (cause) {
    throw new RksError("MESSAGE_INVALID", "a message is not JSON in UTF-8", { cause });
  }
  assertWholeCharacters(json);
  return value;
}

/**
 * JSON can spell half a character (`"\ud800"`), which no UTF-8 text can hold and other implementations refuse
 * (RFC 8259 §8.2). Well-formed UTF-8 has no other way to spell one.
 */
function assertWholeCharacters(json: string): void {
  if (!/\\u[dD][89a-fA-F]/.test(json)) return;
  const withoutPairs = json.replaceAll(
    /\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?!u[dD][89a-fA-F])[^])/g,
    "",
  );
  if (/\\u[dD][89a-fA-F]/.test(withoutPairs)) {
    throw new RksError("MESSAGE_INVALID", "a message holds half a character (a lone surrogate)");
  }
}

function untag(value: unknown): [MessageType, unknown] {
  if (typeof value === "string") return [knownType(value), undefined];
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw notTagged();
  const [tag, ...others] = Object.keys(value);
  if (tag === undefined || others.length > 0) throw notTagged();
  return [knownType(tag), (value as Readonly<Record<string, unknown>>)[tag]];
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
  const path = issue.path.map((step) => pathStep(step)).join("");
  const problem = issue.message.charAt(0).toLowerCase() + issue.message.slice(1);
  return new RksError("MESSAGE_INVALID", `${type}${path}: ${problem}`.slice(0, 500));
}

/** A field as `.name`, an item as `[0]`, a map's key in quotes: it may be anything that the peer likes. */
function pathStep(step: PropertyKey): string {
  if (typeof step === "number") return `[${step}]`;
  const name = String(step);
  return /^[A-Za-z]\w{0,63}$/.test(name) ? `.${name}` : `[${JSON.stringify(name.slice(0, 64))}]`;
}
