import { type Clock, type LogFields, type Logger, RksError } from "@rk8s/protocol";
import { printable } from "./printable.js";

/** What a line weighs, the lightest first. */
export type LogLevel = "debug" | "info" | "warn" | "error";
/** One line for people, or one JSON document a line for programs. */
export type LogFormat = "text" | "json";

const WEIGHTS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
/** A log line is for reading; what is longer belongs into audit or a bug report. */
const MAX_LINE_CHARACTERS = 8192;

/** What is written, and how. */
export interface LogInit {
  /** The least that is written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
}

/**
 * A logger that writes one line per event: `TIME level Message field=value …`, or the same as JSON. Lines are cut at
 * 8,192 characters and cannot drive a terminal; `Secret`s redact themselves.
 */
export function createLogger(
  init: LogInit,
  ports: { readonly write: (line: string) => void; readonly clock: Clock },
): Logger {
  const log =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (WEIGHTS[level] < WEIGHTS[init.level]) return;
      const time = new Date(ports.clock.now()).toISOString();
      const line =
        init.format === "json"
          ? jsonLine(time, level, message, fields)
          : textLine(time, level, message, fields);
      ports.write(`${line.slice(0, MAX_LINE_CHARACTERS)}\n`);
    };
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}

function jsonLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const plain = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plainValue(value)]));
  return JSON.stringify({ time, level, message, ...plain });
}

function textLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const parts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const text = typeof value === "string" ? value : (JSON.stringify(plainValue(value)) ?? "");
      return `${name}=${/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text)}`;
    });
  return printable([time, level.padEnd(5), message, ...parts].join(" ").replaceAll("\n", "\\n"));
}

/** Errors with their code and what is behind them; `Secret`s redact themselves. */
function plainValue(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const cause = value.cause === undefined ? {} : { cause: plainValue(value.cause) };
  if (value instanceof RksError) return { code: value.code, message: value.message, ...cause };
  return { name: value.name, message: value.message, stack: value.stack, ...cause };
}
