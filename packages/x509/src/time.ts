import { type DerReader, TAG } from "./der-reader.js";

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
/** Before it UTCTime, from it on GeneralizedTime (RFC 5280 §4.1.2.5). */
const FIRST_GENERALIZED_MS = Date.UTC(2050, 0, 1);
const DIGIT_0 = 0x30;
const LETTER_Z = 0x5a;
const MAX_TIME_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

/** Read a Time as milliseconds since the epoch: with seconds, in UTC, without fractions (RFC 5280 §4.1.2.5). */
export function readTime(reader: DerReader): number {
  const tag = reader.nextTag;
  if (tag !== TAG.UTC_TIME && tag !== TAG.GENERALIZED_TIME)
    reader.refuse("a date is neither UTCTime nor GeneralizedTime");
  const text = String.fromCharCode(...reader.content(tag).subarray(0, 16));
  const match = (tag === TAG.UTC_TIME ? UTC_TIME : GENERALIZED_TIME).exec(text);
  if (match === null) reader.refuse(`"${printable(text)}" is not a date in UTC with seconds`);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const fullYear = tag === TAG.GENERALIZED_TIME ? year : year < 50 ? 2000 + year : 1900 + year;
  const date = new Date(0);
  date.setUTCFullYear(fullYear, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const real = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour;
  if (!real || date.getUTCMinutes() !== minute || date.getUTCSeconds() !== second) {
    reader.refuse(`"${text}" is not a date that exists`);
  }
  return date.getTime();
}

/** Write a Time; parts of a second are cut off. @throws {TypeError} outside the years 1950–9999. */
export function encodeTime(timeMs: number): Uint8Array {
  assertDate(timeMs);
  return encodeDate(timeMs, timeMs < FIRST_GENERALIZED_MS ? TAG.UTC_TIME : TAG.GENERALIZED_TIME);
}

/**
 * Write a GeneralizedTime whatever the year, as OCSP has it (RFC 6960 §4.2.2.1); parts of a second are cut off.
 * @throws {TypeError} outside the years 1950–9999.
 */
export function encodeGeneralizedTime(timeMs: number): Uint8Array {
  assertDate(timeMs);
  return encodeDate(timeMs, TAG.GENERALIZED_TIME);
}

function assertDate(timeMs: number): void {
  if (!(timeMs >= Date.UTC(1950, 0, 1) && timeMs <= MAX_TIME_MS + 999))
    throw new TypeError(`${timeMs} is not a date that X.509 can hold`);
}

function encodeDate(timeMs: number, tag: number): Uint8Array {
  const date = new Date(timeMs);
  const year = date.getUTCFullYear();
  const utc = tag === TAG.UTC_TIME;
  const out = new Uint8Array(utc ? 15 : 17);
  out[0] = tag;
  out[1] = out.length - 2;
  if (!utc) writeTwoDigits(out, 2, Math.floor(year / 100));
  const at = utc ? 2 : 4;
  writeTwoDigits(out, at, year % 100);
  writeTwoDigits(out, at + 2, date.getUTCMonth() + 1);
  writeTwoDigits(out, at + 4, date.getUTCDate());
  writeTwoDigits(out, at + 6, date.getUTCHours());
  writeTwoDigits(out, at + 8, date.getUTCMinutes());
  writeTwoDigits(out, at + 10, date.getUTCSeconds());
  out[at + 12] = LETTER_Z;
  return out;
}

function writeTwoDigits(out: Uint8Array, at: number, value: number): void {
  out[at] = DIGIT_0 + Math.floor(value / 10);
  out[at + 1] = DIGIT_0 + (value % 10);
}

function printable(text: string): string {
  return text.replaceAll(/[^ -~]/g, "?");
}
