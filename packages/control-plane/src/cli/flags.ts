/** Flags of every command that asks a running rks. */
export interface TargetArguments {
  readonly config?: string | undefined;
  readonly socket?: string | undefined;
  readonly json: boolean;
}

/**
 * Stands for a lone `-` (stdin) among the words: yargs loses that. No real word can hold a zero.
 */
export const STDIN_WORD = "\0stdin";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export const LOG_FORMATS = ["text", "json"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFormat = (typeof LOG_FORMATS)[number];
