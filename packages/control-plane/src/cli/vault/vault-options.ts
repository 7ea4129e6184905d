import type { Argv } from "yargs";
import type { TargetArguments } from "../flags.js";
import { lastOf, targetOptions } from "../target-options.js";

/** How an answer is printed. */
export type Format = "table" | "json" | "yaml";
const FORMATS = ["table", "json", "yaml"] as const satisfies readonly Format[];

/** Flags of every command that asks a vault. */
export interface VaultArguments extends TargetArguments {
  readonly format?: Format | undefined;
  readonly field?: string | undefined;
  readonly "wrap-ttl"?: string | undefined;
  readonly "token-file"?: string | undefined;
}

/** Define the flags of `VaultArguments`, and let flags that take several texts be repeated. */
export function vaultOptions<T>(command: Argv<T>): Argv<T & VaultArguments> {
  return targetOptions(command)
    .parserConfiguration({
      "duplicate-arguments-array": true,
      "greedy-arrays": false,
      "boolean-negation": false,
      "parse-positional-numbers": false,
      "parse-numbers": false,
    })
    .option("format", {
      choices: FORMATS,
      describe: "How to print the answer (default $VAULT_FORMAT, table)",
    })
    .option("field", text("Print the value of this field alone"))
    .option("wrap-ttl", text("Keep the answer, and print a token that can fetch it once: 60s, 5m"))
    .option(
      "token-file",
      text("A file with the token; - reads stdin (default $VAULT_TOKEN; the socket needs none)"),
    );
}

/** A flag that takes one text. */
export function text(describe: string): {
  readonly type: "string";
  readonly requiresArg: true;
  readonly coerce: typeof lastOf;
  readonly describe: string;
} {
  return { type: "string", requiresArg: true, coerce: lastOf, describe };
}

/** A flag that takes a text each time it is given. */
export function texts(describe: string): {
  readonly type: "string";
  readonly array: true;
  readonly requiresArg: true;
  readonly describe: string;
} {
  return { type: "string", array: true, requiresArg: true, describe };
}

/** A flag that is there or not. */
export function flag(describe: string): {
  readonly type: "boolean";
  readonly default: false;
  readonly describe: string;
} {
  return { type: "boolean", default: false, describe };
}

/** A word after the command that may be left out. */
export function word(describe: string): { readonly type: "string"; readonly describe: string } {
  return { type: "string", describe };
}

/** A word after the command that must be there. */
export function required(describe: string): {
  readonly type: "string";
  readonly demandOption: true;
  readonly describe: string;
} {
  return { type: "string", demandOption: true, describe };
}

/** The words after the others: `name=value`, or what stands for it. */
export function words(describe: string): {
  readonly type: "string";
  readonly array: true;
  readonly default: string[];
  readonly describe: string;
} {
  return { type: "string", array: true, default: [], describe };
}
