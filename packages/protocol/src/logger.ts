/** Structured facts beside a log line. Never a secret. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where a package says what it does. Lines are for people; programs read events and audit instead. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** A logger that says nothing; the default wherever a logger is optional. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
};
