import { RksError } from "@rk8s/protocol";
import { HTTP_LIMITS } from "./http-limits.js";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * Refuse JSON that is nested too deeply or has too many values, before it is parsed. Whether it is JSON is not
 * checked.
 * @throws {RksError} INPUT_INVALID
 */
export function assertJsonBounds(json: Uint8Array): void {
  const { maxJsonDepth, maxJsonValues } = HTTP_LIMITS;
  let depth = 0;
  let values = 0;
  let inText = false;
  for (let i = 0; i < json.length; i += 1) {
    const byte = json[i];
    if (inText) {
      if (byte === BACKSLASH) i += 1;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === COMMA || byte === COLON) values += 1;
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      depth += 1;
      if (depth > maxJsonDepth) throw tooMuch(`is nested more than ${maxJsonDepth} deep`);
    } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) depth -= 1;
  }
  if (values > maxJsonValues) throw tooMuch(`has more than ${maxJsonValues} values`);
}

/**
 * Refuse objects with a member `__proto__`: whoever copies members one by one would change what the copy inherits.
 * @throws {RksError} INPUT_INVALID
 */
export function assertPlainMembers(document: object): void {
  const pending: object[] = [document];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (Object.hasOwn(next, "__proto__")) throw tooMuch('has a member "__proto__"');
    for (const value of Object.values(next)) {
      if (typeof value === "object" && value !== null) pending.push(value as object);
    }
  }
}

function tooMuch(what: string): RksError {
  return new RksError("INPUT_INVALID", `the request body ${what}`, {
    suggestion: "Send a simpler document.",
  });
}
