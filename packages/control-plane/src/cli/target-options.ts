import type { Argv } from "yargs";
import type { TargetArguments } from "./flags.js";

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
