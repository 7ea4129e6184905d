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
    .command("activate", "Let the new root sign; the old one stays trusted", forceOptions, (args) =>
      run("activate", args),
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
      "The old root's key, or a former intermediate's, is known to others: what it signed does not count any more",
      (command) => clusterOptions(command),
      (args) => run("taint", args),
    )
    .command("revoke", "Refuse everything that the tainted root has signed", forceOptions, (args) =>
      run("revoke", args),
    )
    .command(
      "csr",
      "Print the request for an intermediate, which an offline root signs elsewhere",
      (command) =>
        clusterOptions(command).option("fresh", {
          type: "boolean",
          describe: "Make a new key; certificates for the request before become useless",
        }),
      (args) => choose(async (io) => (await import("./ca-commands.js")).caRequest(args, io)),
    )
    .command(
      "renew",
      "Put in the next intermediate of an offline root",
      (command) => certificatesOption(clusterOptions(command)).demandOption("certificates"),
      (args) => run("renew", args),
    )
    .demandCommand(1, INCOMPLETE);
}

type CertificatesArgument = Pick<CaStepArguments, "certificates">;

function newRootOptions<T>(
  command: Argv<T>,
): Argv<T & ClusterArguments & CertificatesArgument & { "root-ttl": string | undefined }> {
  return certificatesOption(clusterOptions(command)).option("root-ttl", {
    type: "string",
    requiresArg: true,
    describe: "Life of the new root, like 8760h (default certificates.root_ttl)",
  });
}

function certificatesOption<T>(command: Argv<T>): Argv<T & { certificates: string | undefined }> {
  return command.option("certificates", {
    type: "string",
    requiresArg: true,
    describe: "File with the intermediate that an offline root has signed and that root, PEM",
  });
}

function forceOptions<T>(command: Argv<T>): Argv<T & ClusterArguments & { force: string[] | undefined }> {
  return clusterOptions(command).option("force", {
    type: "string",
    array: true,
    requiresArg: true,
    describe:
      "Nodes that may be left behind, which come back with `rks node rejoin`, and members of the store by their endpoint",
  });
}
