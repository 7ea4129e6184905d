import { RksError } from "@rk8s/protocol";

const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/** Milliseconds of an RFC 3339 date, its fraction of a second cut off; undefined when it is none or there is no such day. */
function parseDate(text: string): number | undefined {
  const match = RFC3339.exec(text);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const offsetHour = Number(match[8] ?? 0);
  const offsetMinute = Number(match[9] ?? 0);
  const local = new Date(0);
  local.setUTCFullYear(year, month - 1, day);
  local.setUTCHours(hour, minute, second);
  const isReal = local.getUTCFullYear() === year && local.getUTCMonth() === month - 1;
  const isInRange = local.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  if (!isReal || !isInRange || offsetHour > 23 || offsetMinute > 59) return undefined;
  const offsetMs = (offsetHour * 60 + offsetMinute) * 60_000;
  return local.getTime() - (match[7] === "-" ? -offsetMs : offsetMs);
}

/** `parseDate` of a field. @throws {RksError} INPUT_INVALID when it is no date that a certificate can carry. */
export function requireDate(field: string, text: string): number {
  const time = parseDate(text);
  if (time !== undefined && time >= 0 && time <= MAX_TIME) return time;
  throw new RksError("INPUT_INVALID", `${field} ${JSON.stringify(text.slice(0, 80))} is not a date`, {
    suggestion: "Write it like 2030-12-31T23:59:59Z, in the years 1970 to 9999.",
  });
}

const MAX_TIME = Date.UTC(9999, 11, 31, 23, 59, 59);
