import { parseDuration, RksError } from "@rk8s/protocol";

import type { JsonObject } from "./backend.js";

/** What ends later than that cannot be written into a certificate. */
const MAX_DURATION_SECONDS = 100 * 366 * 86_400;

/**
 * Readers of request fields with Vault's weak typing: `null` stands for not given, numbers and booleans may come as
 * text, lists as comma-separated text, durations as seconds or `1h30m`. Unknown fields are nobody's business here.
 * All throw {RksError} INPUT_INVALID naming the field.
 */
export function textField(data: JsonObject, name: string): string | undefined {
  const value = data[name] ?? undefined;
  if (value === undefined || typeof value === "string") return value;
  throw invalid(name, value, "text");
}

/** A text that must be there and not be empty. */
export function requiredText(data: JsonObject, name: string): string {
  const value = textField(data, name);
  if (value === undefined || value === "") throw invalid(name, value, "text");
  return value;
}

export function booleanField(data: JsonObject, name: string): boolean | undefined {
  const value = data[name] ?? undefined;
  if (value === undefined || typeof value === "boolean") return value;
  if (value === "true" || value === "1" || value === 1) return true;
  if (value === "false" || value === "0" || value === 0) return false;
  throw invalid(name, value, "true or false");
}

/** A whole number that is not negative. */
export function countField(data: JsonObject, name: string): number | undefined {
  const value = data[name] ?? undefined;
  if (value === undefined || value === "") return undefined;
  const number = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw invalid(name, value, "a whole number");
}

/** Seconds, a hundred years of them at most. */
export function durationField(data: JsonObject, name: string): number | undefined {
  const value = data[name] ?? undefined;
  const isText = typeof value === "string" && !/^\d*$/.test(value);
  const seconds = isText ? durationOf(value) : countField(data, name);
  if (seconds === undefined ? !isText : seconds <= MAX_DURATION_SECONDS) return seconds;
  throw invalid(name, value, "a duration like 90s, 10m or 1h30m, of a hundred years at most");
}

function durationOf(text: string): number | undefined {
  try {
    return parseDuration(text);
  } catch {
    return undefined;
  }
}

export function listField(data: JsonObject, name: string): readonly string[] | undefined {
  const value = data[name] ?? undefined;
  if (value === undefined) return undefined;
  const items: readonly unknown[] =
    typeof value === "string" ? value.split(",") : Array.isArray(value) ? value : [value];
  return items.flatMap((item) => {
    if (typeof item !== "string") throw invalid(name, value, "a list of texts");
    return item.trim() === "" ? [] : [item.trim()];
  });
}

/** Texts by name. */
export function textsField(data: JsonObject, name: string): Readonly<Record<string, string>> | undefined {
  const value = data[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== "object" || Array.isArray(value)) throw invalid(name, value, "an object of texts");
  const texts: [string, string][] = Object.entries(value).map(([key, text]) => {
    if (typeof text !== "string") throw invalid(name, value, "an object of texts");
    return [key, text];
  });
  return Object.fromEntries(texts);
}

function invalid(name: string, value: unknown, expected: string): RksError {
  const found = value === undefined ? "nothing" : (JSON.stringify(value) ?? typeof value).slice(0, 60);
  return new RksError("INPUT_INVALID", `field "${name}" is ${found}, expected ${expected}`, {
    suggestion: `Give "${name}" as ${expected}.`,
  });
}
