import { RksError, type Clock, type LogFields, type Logger } from "@rk8s/protocol";
import { type LogLevel } from "./flags.js";
import { printable } from "./output.js";

const WEIGHTS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
/** A log line is for reading; what is longer belongs into a bug report. */
const MAX_LINE_CHARACTERS = 8192;

/** A logger that writes one line per event: `TIME level Message field=value …`. */
export function createLogger(
  init: { readonly level: LogLevel },
  ports: { readonly write: (line: string) => void; readonly clock: Clock },
): Logger {
  const log =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (WEIGHTS[level] < WEIGHTS[init.level]) return;
      const line = formatLine(new Date(ports.clock.now()).toISOString(), level, message, fields);
      ports.write(`${line.slice(0, MAX_LINE_CHARACTERS)}\n`);
    };
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}

function formatLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
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
