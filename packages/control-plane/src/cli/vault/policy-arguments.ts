import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "../choose.js";
import { flag, required, vaultOptions } from "./vault-options.js";

const NAME = "The policy's name";

/** `rks policy …`. */
export function policyCommands(group: Argv, choose: Choose): Argv {
  return group
    .command(
      "list",
      "List the names of the policies",
      (command) => vaultOptions(command),
      (args) => choose(async (io) => (await import("./policy-commands.js")).listPolicies(args, io)),
    )
    .command(
      "read <name>",
      "Print a policy",
      (command) => vaultOptions(command).positional("name", required(NAME)),
      (args) => choose(async (io) => (await import("./policy-commands.js")).readPolicy(args, io)),
    )
    .command(
      "write <name> <file>",
      "Make or replace a policy",
      (command) =>
        vaultOptions(command)
          .positional("name", required(NAME))
          .positional("file", required("Its text, HCL or JSON; - reads stdin")),
      (args) => choose(async (io) => (await import("./policy-commands.js")).writePolicy(args, io)),
    )
    .command(
      "delete <name>",
      "Delete a policy: tokens that have it lose what it allows",
      (command) => vaultOptions(command).positional("name", required(NAME)),
      (args) => choose(async (io) => (await import("./policy-commands.js")).deletePolicy(args, io)),
    )
    .command(
      "fmt <file>",
      "Lay out a policy's file in place; asks no vault",
      (command) =>
        command
          .positional("file", required("HCL; - reads stdin and prints"))
          .option("check", flag("Change nothing, and fail when something would be changed")),
      (args) => choose(async (io) => (await import("./policy-format.js")).formatPolicyFile(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}
