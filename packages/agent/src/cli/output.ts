import { printable } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";

/** Print the one document of a `--json` run, or one line of a stream of them. */
export function printJson(io: CliIo, document: unknown): void {
  io.stdout(`${JSON.stringify(document)}\n`);
}

/** Print a hint: what to do next, or what would have been better. */
export function printHint(io: CliIo, hint: string): void {
  io.stderr(`hint: ${hint}\n`);
}

/** Rows under headings, in columns as wide as they need to be. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  return formatColumns([headings, ...rows]);
}

/** `name  value` lines for one object. */
export function formatFields(fields: readonly (readonly [name: string, value: string])[]): string {
  return formatColumns(fields);
}

function formatColumns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("   "));
  return lines.map((line) => `${printable(line.trimEnd())}\n`).join("");
}

/** How long something has been, in its largest unit: `45s`, `12m`, `3h`, `9d`. */
export function formatAge(since: string | undefined, nowMs: number): string {
  if (since === undefined) return "-";
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(since)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
