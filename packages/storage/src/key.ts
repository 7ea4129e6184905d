import { RksError } from "@rk8s/protocol";

import { MAX_KEY_BYTES } from "./storage.js";

/** Room for the prefixes that views and the barrier put before a key; adapters accept this much more. */
const PREFIX_BYTES = 128;

/** Half of a surrogate pair on its own: it has no UTF-8 form. */
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/u;

/**
 * Check that an adapter can store the key: not empty, well-formed Unicode, `MAX_KEY_BYTES` long at most (plus what
 * views put before it).
 * @throws {RksError} INPUT_INVALID
 */
export function assertKey(key: string): void {
  if (key === "") {
    throw new RksError("INPUT_INVALID", `storage key "" is empty`, { suggestion: "Name what to store." });
  }
  const bytes = Buffer.byteLength(key);
  if (bytes > MAX_KEY_BYTES + PREFIX_BYTES) {
    throw new RksError(
      "INPUT_INVALID",
      `storage key "${key.slice(0, 40)}…" is ${bytes} bytes long, at most ${MAX_KEY_BYTES} are possible`,
      { suggestion: "Use a shorter name or path." },
    );
  }
  assertWellFormed(key);
}

/**
 * Check that the text has a UTF-8 form.
 * @throws {RksError} INPUT_INVALID when it holds half of a surrogate pair.
 */
export function assertWellFormed(text: string): void {
  if (!LONE_SURROGATE.test(text)) return;
  throw new RksError(
    "INPUT_INVALID",
    `storage key ${JSON.stringify(text.slice(0, 40))} is not valid Unicode`,
    {
      suggestion: "Use a name that is well-formed Unicode.",
    },
  );
}

/**
 * Order two keys by their UTF-8 bytes, which is the order of their code points; JavaScript's `<` differs from it
 * above U+FFFF. Both must be well-formed.
 */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left !== right) return byteOrder(left) - byteOrder(right);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above U+FFFF, so they sort after U+E000…U+FFFF. */
function byteOrder(codeUnit: number): number {
  return codeUnit >= 0xd800 && codeUnit <= 0xdfff ? codeUnit + 0x10000 : codeUnit;
}
