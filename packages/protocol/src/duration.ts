import { RksError } from "./errors.js";

const UNIT_SECONDS: Readonly<Record<string, number>> = { d: 86_400, h: 3600, m: 60, s: 1 };

/**
 * Seconds of a duration such as `90s`, `10m`, `1h30m`, `24h` or `30d`.
 * @throws {RksError} INPUT_INVALID naming the text.
 */
export function parseDuration(text: string): number {
  const match = /^(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?$/.exec(text.trim());
  if (match === null || text.trim() === "") {
    throw new RksError(
      "INPUT_INVALID",
      `duration ${JSON.stringify(text.slice(0, 40))} is not like 90s, 10m or 1h30m`,
      {
        suggestion: "Write whole numbers with the units d, h, m and s.",
      },
    );
  }
  return Object.values(UNIT_SECONDS).reduce((sum, unit, i) => sum + unit * Number(match[i + 1] ?? 0), 0);
}

/** A duration in seconds as `parseDuration` reads it: `5400` is `1h30m`. Fractions are cut off. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) throw new TypeError(`cannot format ${seconds} seconds`);
  let left = Math.max(0, Math.floor(seconds));
  let formatted = "";
  for (const [unit, size] of Object.entries(UNIT_SECONDS)) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count > 0) formatted += `${count}${unit}`;
  }
  return formatted === "" ? "0s" : formatted;
}
