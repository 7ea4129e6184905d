import type { LogLevel } from "@rk8s/host";

/** Flags of every command that asks a control plane, each with its environment variable. */
export interface PeerArguments {
  readonly rksAddress?: string | undefined;
  readonly enableTls?: boolean | undefined;
  readonly rootCertPath?: string | undefined;
  readonly joinToken?: string | undefined;
  readonly joinTokenFile?: string | undefined;
  readonly socket?: string | undefined;
  readonly json: boolean;
}

/** Stands for a lone `-` (stdin) among the words: yargs loses that. No real word can hold a zero. */
export const STDIN_WORD = "\0stdin";

/** Every flag of every command, for the nearest one to a mistyped one. */
export const FLAGS: readonly string[] = [
  "container",
  "data-dir",
  "enable-tls",
  "filename",
  "follow",
  "grace-period",
  "help",
  "join-token",
  "join-token-file",
  "json",
  "log-level",
  "namespace",
  "node-name",
  "output",
  "recovery",
  "rks-address",
  "role",
  "root-cert-path",
  "runtime",
  "socket",
  "ssh-host-key",
  "tail",
  "version",
  "wait",
];

export const OBJECT_KINDS = ["pods", "pod", "po", "nodes", "node", "no"] as const;
/** What `rkl get` shows, as people call it. */
export type ObjectKind = (typeof OBJECT_KINDS)[number];

export const OUTPUTS = ["json", "yaml", "wide"] as const;
type OutputFormat = (typeof OUTPUTS)[number];
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const satisfies readonly LogLevel[];

export interface ViewArguments {
  readonly output?: OutputFormat | undefined;
  readonly namespace?: string | undefined;
}

export interface DeletionArguments {
  readonly namespace?: string | undefined;
  readonly gracePeriod?: number | undefined;
  readonly wait: boolean;
}

export interface LogArguments extends PeerArguments {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly container?: string | undefined;
  readonly follow: boolean;
  readonly tail?: number | undefined;
}
