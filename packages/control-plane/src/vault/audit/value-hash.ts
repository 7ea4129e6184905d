import { createHmac } from "node:crypto";

import { isSecret } from "./clear-fields.js";
import type { IsClear } from "./clear-fields.js";

/** Longer values are hashed also where they may be in clear: no certificate or request for one is longer. */
const MAX_CLEAR_CHARACTERS = 16_384;
const MAX_FIELDS = 512;
const MAX_NAME_CHARACTERS = 256;
/** Values in lists and objects that are hashed one by one; a field with more of them than are left is hashed as a whole. */
const MAX_VALUES = 1024;
const MAX_DEPTH = 16;
/** Tokens as this vault makes them. */
const TOKEN = /\bhv[sbr]\.[\w-]{16,}/g;

export interface ValueHashInit {
  readonly salt: Uint8Array;
  /** Leave data as it is, secrets apart. */
  readonly isRaw: boolean;
}

/** Makes values fit for an audit device: `hmac-sha256:<hex>` with the device's salt in the place of texts. */
export class ValueHash {
  readonly #salt: Uint8Array;
  readonly #isRaw: boolean;

  constructor({ salt, isRaw }: ValueHashInit) {
    this.#salt = salt;
    this.#isRaw = isRaw;
  }

  /** The hash of a text or of bytes. */
  of(value: string | Uint8Array): string {
    return `hmac-sha256:${createHmac("sha256", this.#salt).update(value).digest("hex")}`;
  }

  /** A copy of a request's or an answer's data with names kept, texts hashed and size bounded. */
  data(data: object, isClear: IsClear): unknown {
    const fields = Object.entries(data);
    if (fields.length > MAX_FIELDS) return this.#whole(data);
    const copy = emptyObject();
    let left = MAX_VALUES;
    for (const [name, value] of fields) {
      if (value === undefined) continue;
      const values = valuesIn(value, left);
      const fits = values <= left;
      if (fits) left -= values;
      copy[this.#name(name)] = fits ? this.#value(name, value, isClear(name)) : this.#whole(value);
    }
    return copy;
  }

  /**
   * A text made for people: an error, a warning. It may quote what was sent, so unless it may be in clear it is
   * hashed from the first double quote on.
   */
  prose(text: string, isClear: boolean): string {
    if (isClear || this.#isRaw) {
      return text.length > MAX_CLEAR_CHARACTERS || isSecret("", text)
        ? this.of(text)
        : this.withoutTokens(text);
    }
    const quote = text.indexOf('"');
    const end = quote === -1 ? Math.min(text.length, MAX_CLEAR_CHARACTERS) : quote;
    const rest = text.slice(end);
    return this.withoutTokens(text.slice(0, end)) + (rest === "" ? "" : this.of(rest));
  }

  /** A path or text in clear but for what looks like a token, and `token` itself: some clients put it into the path. */
  withoutTokens(text: string, token = ""): string {
    const known = token.length >= 8 && text.includes(token) ? text.replaceAll(token, this.of(token)) : text;
    return known.replace(TOKEN, (found) => this.of(found));
  }

  #value(name: string, value: unknown, isClear: boolean): unknown {
    if (typeof value === "string") return this.#text(name, value, isClear);
    if (value === null || typeof value === "number" || typeof value === "boolean") return value;
    if (value instanceof Uint8Array) return this.of(value);
    if (Array.isArray(value)) return value.map((item: unknown) => this.#value(name, item, isClear));
    if (typeof value === "object" && !("toJSON" in value)) {
      const copy = emptyObject();
      for (const [inner, item] of Object.entries(value)) {
        if (item !== undefined) copy[this.#name(inner)] = this.#value(inner, item, isClear);
      }
      return copy;
    }
    return this.#whole(value);
  }

  #text(name: string, value: string, isClear: boolean): string {
    const mayBeClear = (isClear || this.#isRaw) && value.length <= MAX_CLEAR_CHARACTERS;
    return mayBeClear && !isSecret(name, value) ? value : this.of(value);
  }

  #name(name: string): string {
    return name.length > MAX_NAME_CHARACTERS ? this.of(name) : name;
  }

  /** One hash for all of a value: of its JSON, where it has any. */
  #whole(value: unknown): string {
    try {
      return this.of(JSON.stringify(value) ?? typeof value);
    } catch {
      // Nested too deeply, or a number without JSON.
      return this.of(typeof value);
    }
  }
}

/** Without a prototype, so that a field may be called `__proto__`. */
function emptyObject(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>;
}

/**
 * How many values there are in a list or an object, names counted by their length; more than `most` when there are more
 * or when they are nested too deeply.
 */
function valuesIn(value: unknown, most: number, depth = 0): number {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return depth === 0 ? 0 : 1;
  if (depth === MAX_DEPTH) return most + 1;
  let values = 1;
  for (const name of Object.keys(value)) {
    const item = (value as Readonly<Record<string, unknown>>)[name];
    values += Math.floor(name.length / MAX_NAME_CHARACTERS) + valuesIn(item, most - values, depth + 1);
    if (values > most) return values;
  }
  return values;
}
