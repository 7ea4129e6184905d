import type { Argv } from "yargs";
import type { ClusterArguments, TargetArguments } from "./flags.js";

/** The flags that say which running rks is asked. */
export function targetOptions<T>(command: Argv<T>): Argv<T & TargetArguments> {
  return jsonOption(command)
    .option("config", {
      alias: "c",
      type: "string",
      requiresArg: true,
      coerce: lastOf,
      describe: "The config file of the rks to ask (default ./config.yaml)",
    })
    .option("socket", {
      type: "string",
      requiresArg: true,
      coerce: lastOf,
      describe: "The socket of the rks to ask",
    })
    .conflicts("config", "socket");
}

/** The flags of commands about the cluster: the same, and the token for $VAULT_ADDR. */
export function clusterOptions<T>(command: Argv<T>): Argv<T & ClusterArguments> {
  return targetOptions(command)
    .option("token-file", {
      type: "string",
      requiresArg: true,
      coerce: lastOf,
      describe: "A file with the token for $VAULT_ADDR; - reads stdin (default $VAULT_TOKEN)",
    })
    .epilogue(
      "Without --config and --socket, $VAULT_ADDR is asked over HTTPS when it is set ($VAULT_CACERT: its root).",
    );
}

/** The flag of every command that can answer a program. */
export function jsonOption<T>(command: Argv<T>): Argv<T & { json: boolean }> {
  return command.option("json", {
    type: "boolean",
    default: false,
    describe: "Print one JSON document on stdout",
  });
}

/** Of a flag given more than once, the last counts, also where a command collects others. */
export function lastOf(value: string | readonly string[]): string {
  return typeof value === "string" ? value : (value.at(-1) ?? "");
}

/** `--config` of commands that read the config file themselves. */
export function configOption<T>(command: Argv<T>): Argv<T & { config: string | undefined }> {
  return command.option("config", {
    alias: "c",
    type: "string",
    requiresArg: true,
    describe: "The config file (default ./config.yaml)",
  });
}
