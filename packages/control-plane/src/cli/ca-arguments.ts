import type { Argv } from "yargs";
import type { RotationStep } from "../pki/cluster-rotation.js";
import type { CaStepArguments } from "./ca-commands.js";
import { type Choose, INCOMPLETE } from "./choose.js";
import type { ClusterArguments } from "./flags.js";
import { clusterOptions } from "./target-options.js";

/** `rks ca …`: the root of the cluster and its rotation. */
export function caCommands(group: Argv, choose: Choose): Argv {
  const run = (step: RotationStep, args: Omit<CaStepArguments, "step">): void =>
    choose(async (io) => (await import("./ca-commands.js")).caStep({ ...args, step }, io));
  return group
    .command("status", "Say which roots there are and who has not followed yet", clusterOptions, (args) =>
      choose(async (io) => (await import("./ca-commands.js")).caStatus(args, io)),
    )
    .command("prepare", "Make the next root and let every node trust it", newRootOptions, (args) =>
      run("prepare", args),
    )
    .command(
      "activate",
      "Let the new root sign; the old one stays trusted",
      (command) => clusterOptions(command),
      (args) => run("activate", args),
    )
    .command("retire", "Stop trusting the old root, once every node has followed", forceOptions, (args) =>
      run("retire", args),
    )
    .command(
      "rollback",
      "Go one phase back: the old root signs again, or the new one is forgotten",
      forceOptions,
      (args) => run("rollback", args),
    )
    .command(
      "taint",
      "The old root's key is known to others: nothing leads through it any more, everybody renews",
      (command) => clusterOptions(command),
      (args) => run("taint", args),
    )
    .command("revoke", "Refuse everything that the tainted root has signed", forceOptions, (args) =>
      run("revoke", args),
    )
    .demandCommand(1, INCOMPLETE);
}

function newRootOptions<T>(
  command: Argv<T>,
): Argv<T & ClusterArguments & { "root-ttl": string | undefined }> {
  return clusterOptions(command).option("root-ttl", {
    type: "string",
    requiresArg: true,
    describe: "Life of the new root, like 8760h (default certificates.root_ttl)",
  });
}

function forceOptions<T>(command: Argv<T>): Argv<T & ClusterArguments & { force: string[] | undefined }> {
  return clusterOptions(command).option("force", {
    type: "string",
    array: true,
    requiresArg: true,
    describe: "Nodes that may be left behind; they come back with `rks node rejoin`",
  });
}
