import type { LogFormat, LogLevel } from "@rk8s/host";

/** Flags of every command that asks a running rks. */
export interface TargetArguments {
  readonly config?: string | undefined;
  readonly socket?: string | undefined;
  readonly json: boolean;
}

/** Flags of every command about the cluster, which is asked over HTTPS as well. */
export interface ClusterArguments extends TargetArguments {
  readonly "token-file"?: string | undefined;
}

/**
 * Stands for a lone `-` (stdin) among the words: yargs loses that. No real word can hold a zero.
 */
export const STDIN_WORD = "\0stdin";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const satisfies readonly LogLevel[];
export const LOG_FORMATS = ["text", "json"] as const satisfies readonly LogFormat[];
