import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "../choose.js";
import { clusterOptions, targetOptions } from "../target-options.js";
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
    .command(
      "verify [files..]",
      "Check that no line of an audit log was removed or changed",
      (command) =>
        clusterOptions(command)
          // All words of a list, not the last one.
          .parserConfiguration({ "duplicate-arguments-array": true, "parse-positional-numbers": false })
          .positional("files", words("Files of the log (default: that of --config, or of the device)"))
          .option(
            "device",
            text("The vault's audit device that wrote them, as listed; default: the cluster's own log"),
          ),
      (args) => choose(async (io) => (await import("../audit-verify-command.js")).verifyAudit(args, io)),
    )
    .command(
      "tail",
      "Show the last lines of the cluster's audit log",
      (command) =>
        targetOptions(command)
          .option("lines", { ...text("How many"), alias: "n", default: "10" })
          .option("follow", { ...flag("Go on with what is written"), alias: "f" }),
      (args) => choose(async (io) => (await import("../audit-tail-command.js")).tailAudit(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}
