import { parseDuration, RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { JsonObject } from "./backend.js";

/**
 * Vault's field types: weakly typed, since its clients send `"true"`, `"2048"`, `"1h30m"` and comma-separated text as
 * readily as JSON's own types; null and nothing both mean the default. Called without a default they give undefined
 * for what was not sent.
 */
export type Field<T> = z.ZodType<T>;

/** What a field is to the API description. */
export interface FieldMeta {
  readonly type: "boolean" | "string" | "integer" | "duration" | "array" | "object";
}

/** No list in a role or a request needs more. */
const MAX_LIST = 1000;
const MAX_TEXT = 16_384;
/** A hundred years; dates beyond 9999 cannot be written. */
const MAX_DURATION_SECONDS = 100 * 366 * 86_400;

export function flag(): Field<boolean | undefined>;
export function flag(fallback: boolean): Field<boolean>;
export function flag(fallback?: boolean): Field<boolean | undefined> {
  return field(fallback, "true or false", "boolean", (value) => {
    if (typeof value === "boolean") return value;
    if (value === 1 || value === "1" || value === "true") return true;
    return value === 0 || value === "0" || value === "false" ? false : undefined;
  });
}

export function text(): Field<string | undefined>;
export function text(fallback: string, options?: TextOptions): Field<string>;
export function text(fallback?: string, options: TextOptions = {}): Field<string | undefined> {
  const { maxCharacters = MAX_TEXT } = options;
  return field(fallback, `text of at most ${maxCharacters} characters`, "string", (value) =>
    typeof value === "string" && value.length <= maxCharacters ? value : undefined,
  );
}

interface TextOptions {
  readonly maxCharacters?: number;
}

/** A text that must be there and not be empty. */
export function requiredText(options: TextOptions = {}): Field<string> {
  const { maxCharacters = MAX_TEXT } = options;
  return z
    .unknown()
    .optional()
    .transform((value, context) => {
      if (typeof value === "string" && value !== "" && value.length <= maxCharacters) return value;
      context.addIssue({
        code: "custom",
        message: `expected text, got ${value === "" ? "none" : typeof value}`,
        input: value,
      });
      return z.NEVER;
    })
    .meta({ type: "string" } satisfies FieldMeta);
}

export function integer(): Field<number | undefined>;
export function integer(fallback: number): Field<number>;
export function integer(fallback?: number): Field<number | undefined> {
  return field(fallback, "a whole number", "integer", (value) => {
    const number = typeof value === "string" && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
    return typeof number === "number" && Number.isSafeInteger(number) ? number : undefined;
  });
}

/** A whole number that is not negative. */
export function count(): Field<number | undefined>;
export function count(fallback: number): Field<number>;
export function count(fallback?: number): Field<number | undefined> {
  return field(fallback, "a whole number that is not negative", "integer", (value) => {
    const number = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
    return typeof number === "number" && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
  });
}

/** Seconds, a hundred years of them at most: a number of them, or text such as `90s`, `1h30m`, `30d`. */
export function duration(): Field<number | undefined>;
export function duration(fallbackSeconds: number): Field<number>;
export function duration(fallbackSeconds?: number): Field<number | undefined> {
  const expected = "a duration like 3600, 90s or 1h30m, of a hundred years at most";
  return field(fallbackSeconds, expected, "duration", (value) => {
    const seconds = typeof value === "string" ? durationSeconds(value) : value;
    const isValid = typeof seconds === "number" && Number.isSafeInteger(seconds) && seconds >= 0;
    return isValid && seconds <= MAX_DURATION_SECONDS ? seconds : undefined;
  });
}

/** A JSON array of texts or one text with commas; empty parts are dropped. */
export function list(): Field<readonly string[] | undefined>;
export function list(fallback: readonly string[]): Field<readonly string[]>;
export function list(fallback?: readonly string[]): Field<readonly string[] | undefined> {
  return field(fallback, "a list of texts or text with commas", "array", (value) => {
    const parts: unknown = typeof value === "string" && value.length <= MAX_TEXT ? value.split(",") : value;
    if (!Array.isArray(parts) || parts.length > MAX_LIST) return undefined;
    const given = parts.filter((part): part is string => typeof part === "string" && part.length <= MAX_TEXT);
    return given.length === parts.length
      ? given.map((part) => part.trim()).filter((part) => part !== "")
      : undefined;
  });
}

/** Texts by name. */
export function texts(): Field<Readonly<Record<string, string>> | undefined> {
  return field<Readonly<Record<string, string>>>(undefined, "an object of texts", "object", (value) => {
    if (!isObject(value)) return undefined;
    const entries = Object.entries(value);
    if (entries.length > MAX_LIST) return undefined;
    const pairs = entries.filter((entry): entry is [string, string] => typeof entry[1] === "string");
    return pairs.length === entries.length ? Object.fromEntries(pairs) : undefined;
  });
}

/** Any JSON object. */
export function object(): Field<JsonObject | undefined> {
  return field<JsonObject>(undefined, "an object", "object", (value) =>
    isObject(value) ? value : undefined,
  );
}

export function oneOf<const T extends string>(fallback: T, allowed: readonly T[]): Field<T> {
  return field<T>(fallback, allowed.join(", "), "string", (value) =>
    allowed.find((known) => known === value),
  ) as Field<T>;
}

/**
 * Parse a body with a schema of these fields; what the schema does not name is left out.
 * @throws {RksError} INPUT_INVALID naming every field that is wrong.
 */
export function parseFields<T>(schema: z.ZodType<T>, data: JsonObject, what: string): T {
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new RksError("INPUT_INVALID", `${what} has wrong fields: ${problems.join("; ")}`, {
    suggestion: "Correct the fields named.",
  });
}

/**
 * A warning about fields that a request has and the schema has not, as OpenBao words it. Path parameters may be
 * repeated in the body, which many clients do.
 */
export function unknownFieldWarning(
  data: JsonObject,
  schema: z.ZodObject,
  parameters: Readonly<Record<string, string>> = {},
): string | undefined {
  const unknown = Object.keys(data).filter(
    (name) => !Object.hasOwn(schema.shape, name) && !Object.hasOwn(parameters, name),
  );
  if (unknown.length === 0) return undefined;
  return `Endpoint ignored these unrecognized parameters: [${unknown.slice(0, 20).join(" ").slice(0, 500)}]`;
}

function field<T>(
  fallback: T | undefined,
  expected: string,
  type: FieldMeta["type"],
  read: (value: unknown) => T | undefined,
): Field<T | undefined> {
  // Clients send empty text for a number or a time that they do not choose.
  const emptyIsNothing = type === "integer" || type === "duration";
  return z
    .unknown()
    .optional()
    .transform((value, context) => {
      if (value === undefined || value === null || (emptyIsNothing && value === "")) return fallback;
      const result = read(value);
      if (result !== undefined) return result;
      const found = type === "string" ? typeof value : show(value);
      context.addIssue({ code: "custom", message: `expected ${expected}, got ${found}`, input: value });
      return z.NEVER;
    })
    .meta({ type } satisfies FieldMeta);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function durationSeconds(value: string): number | undefined {
  if (/^\d{1,12}$/.test(value)) return Number(value);
  try {
    return parseDuration(value);
  } catch {
    return undefined;
  }
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? typeof value).slice(0, 80);
}
