import type { CliIo } from "@rk8s/host/cli-io";

/** Told by the parser what a command line is to do. */
export type Choose = (run: (io: CliIo) => Promise<void>) => void;

/** What is said of a group of commands without one of them. */
export const INCOMPLETE = "a command is missing";
