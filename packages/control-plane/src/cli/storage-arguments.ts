import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "./choose.js";
import type { OfflineArguments } from "./backup-commands.js";
import { configOption, jsonOption, targetOptions } from "./target-options.js";

/** `rks storage …`: where the store of the vault is. */
export function storageCommands(group: Argv, choose: Choose): Argv {
  return group
    .command("status", "Say where the store is, and how its migration goes", targetOptions, (args) =>
      choose(async (io) => (await import("./storage-commands.js")).storageStatus(args, io)),
    )
    .command(
      "migrate",
      "Move the store while it serves, and check it entry by entry",
      (command) =>
        targetOptions(command).option("to", {
          type: "string",
          demandOption: true,
          requiresArg: true,
          describe:
            "local; a config file that names the store; https://store-1:2379,https://store-2:2379; postgres://… or mysql://…",
        }),
      (args) => choose(async (io) => (await import("./storage-commands.js")).storageMigrate(args, io)),
    )
    .command(
      "backup <file>",
      "Write everything into a file, encrypted as it is stored",
      (command) =>
        targetOptions(command).positional("file", {
          type: "string",
          demandOption: true,
          describe: "Where; nothing may be there",
        }),
      (args) => choose(async (io) => (await import("./backup-commands.js")).storageBackup(args, io)),
    )
    .command(
      "restore <file>",
      "Put a backup into the empty store of a config; no rks may run on it",
      (command) =>
        offlineOptions(command).positional("file", {
          type: "string",
          demandOption: true,
          describe: "What `backup` wrote",
        }),
      (args) => choose(async (io) => (await import("./backup-commands.js")).storageRestore(args, io)),
    )
    .command(
      "stay",
      "Keep the vault in the store of a config after a move was cut off; no rks may run on it",
      (command) =>
        offlineOptions(command).option("other-is-lost", {
          type: "boolean",
          default: false,
          describe:
            "The store that knows whether the vault was moved is lost for ever; nobody will serve it again",
        }),
      (args) => choose(async (io) => (await import("./backup-commands.js")).storageStay(args, io)),
    )
    .command("verify", "Read every entry and check that the vault wrote it", targetOptions, (args) =>
      choose(async (io) => (await import("./storage-commands.js")).storageVerify(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}

/** Of commands that work on a store while no rks runs on it. */
function offlineOptions<T>(command: Argv<T>): Argv<T & OfflineArguments> {
  return configOption(jsonOption(command))
    .option("adopt-nodes", {
      type: "boolean",
      default: false,
      describe:
        "Let nodes go on whose certificates the store does not know, also those that were banned since",
    })
    .option("key-file", {
      type: "string",
      requiresArg: true,
      describe: "A file with unseal shares, or keys.json; - reads stdin (default: what the vault folder has)",
    });
}
