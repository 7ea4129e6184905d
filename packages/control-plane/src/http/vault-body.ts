import { RksError } from "@rk8s/protocol";
import type { JsonObject } from "../vault/backend.js";
import { HTTP_LIMITS } from "./http-limits.js";
import { assertJsonBounds, assertPlainMembers } from "./json-bounds.js";

/** What PATCH bodies must be called (RFC 7396). */
export const MERGE_PATCH_TYPE = "application/merge-patch+json";
/** Bodies that are handed on as they are, in the field `request` (RFC 6960 A.1). */
const OCSP_REQUEST_TYPE = "application/ocsp-request";
const FORM_TYPE = "application/x-www-form-urlencoded";

const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;

/**
 * Read the fields of a body. What it is called hardly matters, because `curl -d '{…}'` calls JSON a form: it is a form
 * only when it is called one and does not begin with `{` or `[`. No body, or nothing but blanks, has no fields.
 * @throws {RksError} INPUT_INVALID for what is neither a form nor one JSON object; MESSAGE_TOO_LARGE.
 */
export function readFields(body: Uint8Array | undefined, contentType: string | undefined): JsonObject {
  if (body === undefined || body.length === 0) return {};
  const type = mediaType(contentType);
  if (type === OCSP_REQUEST_TYPE) return { request: ocspRequest(body) };
  const first = firstByte(body);
  if (first === undefined) return {};
  if (type === FORM_TYPE && first !== OPEN_OBJECT && first !== OPEN_ARRAY) return readForm(body);
  if (first !== OPEN_OBJECT) throw noObject();
  assertJsonBounds(body);
  return parseObject(body);
}

/** A content type without its parameters, in lower case. */
export function mediaType(contentType: string | undefined): string {
  return contentType === undefined ? "" : (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
}

/**
 * Collect names and texts as fields; a name that comes more than once becomes a list.
 * @throws {RksError} INPUT_INVALID when there are too many.
 */
export function fieldsOf(pairs: Iterable<[string, string]>): JsonObject {
  const fields = new Map<string, string | string[]>();
  let count = 0;
  for (const [name, value] of pairs) {
    count += 1;
    if (count > HTTP_LIMITS.maxQueryValues || name === "__proto__") {
      throw new RksError("INPUT_INVALID", "the query or form has too many or impossible names", {
        suggestion: "Send a JSON object as the body.",
      });
    }
    const before = fields.get(name);
    if (before === undefined) fields.set(name, value);
    else fields.set(name, Array.isArray(before) ? [...before, value] : [before, value]);
  }
  return Object.fromEntries(fields);
}

function readForm(body: Uint8Array): JsonObject {
  return fieldsOf(new URLSearchParams(Buffer.from(body.buffer, body.byteOffset, body.length).toString()));
}

function parseObject(body: Uint8Array): JsonObject {
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString();
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser's own error would repeat what it read.
    throw noObject();
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) throw noObject();
  // A name may also be written with escapes; walking every document would cost more than looking for both.
  if (text.includes("__proto__") || text.includes("\\u00")) assertPlainMembers(document);
  return document as JsonObject;
}

function ocspRequest(body: Uint8Array): Uint8Array {
  if (body.length <= HTTP_LIMITS.maxOcspRequestBytes) return Uint8Array.from(body);
  throw new RksError(
    "MESSAGE_TOO_LARGE",
    `an OCSP request may have ${HTTP_LIMITS.maxOcspRequestBytes} bytes`,
  );
}

/** The first byte that is no blank. */
function firstByte(body: Uint8Array): number | undefined {
  return body.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
}

function noObject(): RksError {
  return new RksError("INPUT_INVALID", "the request body is not a JSON object", {
    suggestion: 'Send fields as {"name": value, …}.',
  });
}
