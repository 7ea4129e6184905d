import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "../choose.js";
import { flag, required, text, vaultOptions } from "./vault-options.js";

const LEASE = "The lease: the lease_id of an answer";

/** `rks lease …`. */
export function leaseCommands(group: Argv, choose: Choose): Argv {
  return group
    .command(
      "lookup <id>",
      "Describe a lease",
      (command) => vaultOptions(command).positional("id", required(LEASE)),
      (args) => choose(async (io) => (await import("./lease-commands.js")).lookupLease(args, io)),
    )
    .command(
      "renew <id>",
      "Make a lease last longer",
      (command) =>
        vaultOptions(command)
          .positional("id", required(LEASE))
          .option("increment", { ...text("For how long from now on"), alias: "i" }),
      (args) => choose(async (io) => (await import("./lease-commands.js")).renewLease(args, io)),
    )
    .command(
      "revoke <id>",
      "End a lease, or with --prefix all below a path",
      (command) =>
        vaultOptions(command)
          .positional("id", required("The lease, or a path with --prefix"))
          .option("prefix", flag("End all leases and tokens made below the path"))
          .option("force", {
            ...flag("With --prefix: forget them, whether they can be revoked or not"),
            alias: "f",
          })
          .option("sync", flag("Wait until it is done")),
      (args) => choose(async (io) => (await import("./lease-commands.js")).revokeLease(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}
