import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "../choose.js";
import { flag, required, text, vaultOptions, words } from "./vault-options.js";

/** `rks audit …`. */
export function auditCommands(group: Argv, choose: Choose): Argv {
  return group
    .command(
      "enable <type> [options..]",
      "Write a line for every request and answer",
      (command) =>
        vaultOptions(command)
          .positional("type", required("file or stdout"))
          .positional("options", words("file_path=FILE, and other options of the type"))
          .option("path", text("What it is called (default: the type)"))
          .option("description", text("What it is for"))
          .option("local", flag("Kept for other vaults; has no effect")),
      (args) => choose(async (io) => (await import("./audit-commands.js")).enableAudit(args, io)),
    )
    .command(
      "disable <path>",
      "Write to it no more; what was written stays",
      (command) => vaultOptions(command).positional("path", required("As listed")),
      (args) => choose(async (io) => (await import("./audit-commands.js")).disableAudit(args, io)),
    )
    .command(
      "list",
      "List the audit devices",
      (command) => vaultOptions(command).option("detailed", flag("Show their options as well")),
      (args) => choose(async (io) => (await import("./audit-commands.js")).listAudit(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}
