import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "../choose.js";
import { required, text, texts, vaultOptions, type VaultArguments, words } from "./vault-options.js";

const VERSIONS = "Numbers with commas";

type Secret = VaultArguments & { path: string; mount: string | undefined };

/** `rks kv …`. */
export function kvCommands(group: Argv, choose: Choose): Argv {
  return group
    .command(
      "get <path>",
      "Read a secret",
      (command) => named(command).option("version", text("Which version (default: the newest)")),
      (args) => choose(async (io) => (await import("./kv-commands.js")).getSecret(args, io)),
    )
    .command("put <path> <data..>", "Write a secret, or its next version", writing, (args) =>
      choose(async (io) => (await import("./kv-commands.js")).putSecret(args, io)),
    )
    .command("patch <path> <data..>", "Change some fields of a secret", writing, (args) =>
      choose(async (io) => (await import("./kv-commands.js")).patchSecret(args, io)),
    )
    .command("list <path>", "List secrets", named, (args) =>
      choose(async (io) => (await import("./kv-commands.js")).listSecrets(args, io)),
    )
    .command("delete <path>", "Delete a secret, or versions of it", versioned, (args) =>
      choose(async (io) => (await import("./kv-commands.js")).deleteSecret(args, io)),
    )
    .command("undelete <path>", "Take deleted versions back", versioned, (args) =>
      choose(async (io) => (await import("./kv-commands.js")).changeVersions("undelete", args, io)),
    )
    .command("destroy <path>", "Delete versions for good", versioned, (args) =>
      choose(async (io) => (await import("./kv-commands.js")).changeVersions("destroy", args, io)),
    )
    .command("metadata", "What is known of a secret's versions", (metadata) =>
      metadataCommands(metadata, choose),
    )
    .demandCommand(1, INCOMPLETE);
}

function metadataCommands(group: Argv, choose: Choose): Argv {
  return group
    .command("get <path>", "Read it", named, (args) =>
      choose(async (io) => (await import("./kv-metadata-commands.js")).getMetadata(args, io)),
    )
    .command(
      "put <path>",
      "Change it",
      (command) =>
        named(command)
          .option("max-versions", text("How many versions are kept"))
          .option("delete-version-after", text("When a version deletes itself: 30d"))
          .option("cas-required", {
            ...text("true: writes must say which version they replace"),
            choices: ["true", "false"] as const,
          })
          .option("custom-metadata", texts("name=value; can be repeated")),
      (args) => choose(async (io) => (await import("./kv-metadata-commands.js")).putMetadata(args, io)),
    )
    .command("delete <path>", "Delete the secret with all its versions", named, (args) =>
      choose(async (io) => (await import("./kv-metadata-commands.js")).deleteMetadata(args, io)),
    )
    .command("list <path>", "List secrets", named, (args) =>
      choose(async (io) => (await import("./kv-commands.js")).listSecrets(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}

function named<T>(command: Argv<T>): Argv<T & Secret> {
  return vaultOptions(command)
    .version(false)
    .positional("path", required("The secret, with its mount: secret/app/db"))
    .option("mount", text("The mount; then the path is below it"));
}

function writing<T>(command: Argv<T>): Argv<T & Secret & { data: string[]; cas: string | undefined }> {
  return named(command)
    .positional("data", words("name=value, name=@FILE, name=- (stdin), or all of them as @FILE.json or -"))
    .option("cas", text("Only when this is the present version; 0: only when there is none"));
}

function versioned<T>(command: Argv<T>): Argv<T & Secret & { versions: string | undefined }> {
  return named(command).option("versions", text(VERSIONS));
}
