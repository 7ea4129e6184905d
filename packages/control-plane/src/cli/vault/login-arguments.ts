import type { Argv } from "yargs";
import { text, vaultOptions, type VaultArguments, words } from "./vault-options.js";

const METHODS = ["token", "approle", "kubernetes", "cert", "join-token"] as const;
export type LoginMethod = (typeof METHODS)[number];

/** Flags of `rks login`. */
export function loginOptions<T>(
  command: Argv<T>,
): Argv<T & VaultArguments & { data: string[]; method: LoginMethod; path: string | undefined }> {
  return vaultOptions(command)
    .positional("data", words("name=value as the method takes them; for the method token - reads stdin"))
    .option("method", { choices: METHODS, default: "token" as const, describe: "How to log in" })
    .option("path", text("Where the method is mounted (default: the method)"))
    .epilogue("Nothing is stored: export VAULT_TOKEN=$(rks login … --field token).");
}
