import { printable } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";

/** Print the one document of a `--json` run. */
export function printJson(io: CliIo, document: unknown): void {
  io.stdout(`${JSON.stringify(document)}\n`);
}

/** Print a hint: what to do next, or what would have been better. */
export function printHint(io: CliIo, hint: string): void {
  io.stderr(`hint: ${hint}\n`);
}

/** Rows under headings, in columns as wide as they need to be. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  return [headings, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("   ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** `name  value` lines for one object. */
export function formatFields(fields: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields
    .map(([name, value]) => `${name.padEnd(width)}   ${value}`.trimEnd())
    .map((line) => `${line}\n`)
    .join("");
}

/** Print an error the way every command does; returns the exit code. */
export function reportError(reason: unknown, io: CliIo, json: boolean): number {
  const error = RksError.from(reason);
  if (json) printJson(io, { error: error.toJSON() });
  io.stderr(`rks: ${printable(error.message)}\n`);
  if (error.code === "INTERNAL" && error.cause !== undefined) io.stderr(`${describeCause(error.cause)}\n`);
  if (error.suggestion !== undefined) printHint(io, printable(error.suggestion));
  return error.info.exit;
}

function describeCause(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
