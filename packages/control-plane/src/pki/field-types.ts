import { parseDuration, RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { JsonObject } from "../vault/backend.js";

/**
 * Vault's field types: weakly typed, since its clients send `"true"`, `"2048"`, `"1h30m"` and comma-separated text as
 * readily as JSON's own types; null and nothing both mean the default.
 */
export type Field<T> = z.ZodType<T>;

/** No list in a role or a request needs more. */
const MAX_LIST = 1000;
const MAX_TEXT = 16_384;
/** A hundred years; dates beyond 9999 cannot be written. */
const MAX_DURATION_SECONDS = 100 * 366 * 86_400;

export function flag(fallback: boolean): Field<boolean> {
  return field(fallback, "true or false", (value) => {
    if (typeof value === "boolean") return value;
    if (value === 1 || value === "1" || value === "true") return true;
    return value === 0 || value === "0" || value === "false" ? false : undefined;
  });
}

export function text(fallback: string): Field<string> {
  return field(fallback, "text", (value) =>
    typeof value === "string" && value.length <= MAX_TEXT ? value : undefined,
  );
}

export function integer(fallback: number): Field<number> {
  return field(fallback, "a whole number", (value) => {
    const number = typeof value === "string" && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
    return typeof number === "number" && Number.isSafeInteger(number) ? number : undefined;
  });
}

/** Seconds: a number of them, or text such as `90s`, `1h30m`, `30d`. */
export function duration(fallbackSeconds: number): Field<number> {
  return field(fallbackSeconds, "a duration such as 3600, 90s or 1h30m", (value) => {
    if (value === "") return fallbackSeconds;
    const seconds = typeof value === "string" ? durationSeconds(value) : value;
    const valid = typeof seconds === "number" && Number.isSafeInteger(seconds) && seconds >= 0;
    return valid && seconds <= MAX_DURATION_SECONDS ? seconds : undefined;
  });
}

/** A JSON array of texts or one text with commas; empty parts are dropped. */
export function list(fallback: readonly string[]): Field<readonly string[]> {
  return field(fallback, "a list of texts or text with commas", (value) => {
    const parts: unknown = typeof value === "string" && value.length <= MAX_TEXT ? value.split(",") : value;
    if (!Array.isArray(parts) || parts.length > MAX_LIST) return undefined;
    const texts = parts.filter((part): part is string => typeof part === "string" && part.length <= MAX_TEXT);
    return texts.length === parts.length
      ? texts.map((part) => part.trim()).filter((part) => part !== "")
      : undefined;
  });
}

export function oneOf<const T extends string>(fallback: T, allowed: readonly T[]): Field<T> {
  return field<T>(fallback, allowed.join(", "), (value) => allowed.find((known) => known === value));
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

function field<T>(fallback: T, expected: string, read: (value: unknown) => T | undefined): Field<T> {
  return z
    .unknown()
    .optional()
    .transform((value, context) => {
      if (value === undefined || value === null) return fallback;
      const result = read(value);
      if (result !== undefined) return result;
      context.addIssue({ code: "custom", message: `expected ${expected}, got ${show(value)}`, input: value });
      return z.NEVER;
    });
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
