import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "../choose.js";
import { flag, required, text, texts, vaultOptions, word } from "./vault-options.js";

const TOKEN = "The token; - reads stdin; without one that of the request";
const ACCESSOR = "The accessor of the token, in place of it";

/** `rks token …`. */
export function tokenCommands(group: Argv, choose: Choose): Argv {
  return group
    .command(
      "create",
      "Make a token",
      (command) =>
        vaultOptions(command)
          .option("policy", texts("A policy that it gets; again, or with commas, for more"))
          .option("ttl", text("How long it lives: 1h, 30d"))
          .option("period", text("It can be renewed for ever, for this long each time"))
          .option("explicit-max-ttl", text("It never lives longer, however often it is renewed"))
          .option("num-uses", text("How many requests it is good for (default: any number)"))
          .option("renewable", {
            ...text("false: it cannot be renewed"),
            choices: ["true", "false"] as const,
          })
          .option("orphan", flag("It does not end with the token that makes it"))
          .option("no-default-policy", flag("It does not get the policy `default`"))
          .option("type", {
            ...text("service, or batch: not stored"),
            choices: ["service", "batch"] as const,
          })
          .option("role", text("The token role that makes it"))
          .option("display-name", text("What audit lines call it"))
          .option("entity-alias", text("Whose it is; needs --role"))
          .option("metadata", texts("name=value that audit lines show; can be repeated"))
          .option("id", text("The token's own text, in place of a random one")),
      (args) => choose(async (io) => (await import("./token-create.js")).createToken(args, io)),
    )
    .command(
      "lookup [token]",
      "Describe a token",
      (command) => vaultOptions(command).positional("token", word(TOKEN)).option("accessor", text(ACCESSOR)),
      (args) => choose(async (io) => (await import("./token-commands.js")).lookupToken(args, io)),
    )
    .command(
      "renew [token]",
      "Make a token live longer",
      (command) =>
        vaultOptions(command)
          .positional("token", word(TOKEN))
          .option("accessor", text(ACCESSOR))
          .option("increment", { ...text("For how long from now on"), alias: "i" }),
      (args) => choose(async (io) => (await import("./token-commands.js")).renewToken(args, io)),
    )
    .command(
      "revoke [token]",
      "End a token and those made with it",
      (command) =>
        vaultOptions(command)
          .positional("token", word("The token; - reads stdin; with --mode path a prefix of paths"))
          .option("accessor", text(ACCESSOR))
          .option("self", flag("End the token of the request"))
          .option("mode", {
            ...text("orphan: its children live on; path: all that were made below a path"),
            choices: ["orphan", "path"] as const,
          }),
      (args) => choose(async (io) => (await import("./token-commands.js")).revokeToken(args, io)),
    )
    .command(
      "capabilities <token> [path]",
      "Tell what a token may do at a path; with one word that of the request",
      (command) =>
        vaultOptions(command)
          .positional("token", required("The token, or the path; - reads the token from stdin"))
          .positional("path", word("The path"))
          .option("accessor", text(ACCESSOR)),
      (args) => choose(async (io) => (await import("./token-commands.js")).tokenCapabilities(args, io)),
    )
    .command(
      "list",
      "List the accessors of all tokens",
      (command) => vaultOptions(command),
      (args) => choose(async (io) => (await import("./token-commands.js")).listTokens(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}
