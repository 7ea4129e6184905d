import yargs, { type Argv } from "yargs";
import type { LogLevel } from "@rk8s/host";
import { RECOVERY_CHOICES, type RecoveryChoice } from "../daemon/recovery-choice.js";
import { AGENT_VERSION } from "../version.js";
import type { AgentIo } from "./agent-io.js";
import {
  FLAGS,
  LOG_LEVELS,
  OBJECT_KINDS,
  type ObjectKind,
  OUTPUTS,
  type PeerArguments,
  STDIN_WORD,
  type ViewArguments,
  type DeletionArguments,
  type LogArguments,
} from "./flags.js";
import { UsageProblem } from "./usage-problem.js";

/** What the command line asks for. */
export type Invocation =
  | { readonly type: "print"; readonly text: string }
  | { readonly type: "run"; readonly run: (io: AgentIo) => Promise<void> }
  /** A group of commands without one of them: help, and wrong usage. */
  | { readonly type: "incomplete"; readonly help: string };

const INCOMPLETE = "a command is missing";

/**
 * Read the command line. Commands' code is loaded only when they run.
 * @throws {UsageProblem}
 */
export async function parseArguments(argv: readonly string[]): Promise<Invocation> {
  let run: ((io: AgentIo) => Promise<void>) | undefined;
  let printed = "";
  const parser = define((chosen) => (run = chosen));
  const words = argv.map((word) => (word === "-" ? STDIN_WORD : word));
  try {
    await parser.parseAsync(words, {}, (_error: unknown, _args: unknown, output: string) => {
      printed = output;
    });
  } catch (reason) {
    const message = (reason instanceof Error ? reason.message : String(reason)).replaceAll(STDIN_WORD, "-");
    if (message === INCOMPLETE) return { type: "incomplete", help: await helpFor(argv) };
    throw await usageProblem(message);
  }
  return run === undefined ? { type: "print", text: `${printed}\n` } : { type: "run", run };
}

async function usageProblem(message: string): Promise<UsageProblem> {
  const { nearestWord } = await import("@rk8s/protocol");
  const unknown = /^Unknown arguments?: ([^,]+)/.exec(message)?.[1];
  const nearest = unknown === undefined ? undefined : nearestWord(unknown, FLAGS);
  return new UsageProblem(
    plainMessage(message),
    nearest === undefined ? undefined : `Did you mean --${nearest}?`,
  );
}

/** What yargs says, in our words. */
function plainMessage(message: string): string {
  const choice = /Argument: (\S+), Given: (.+?), Choices: (.+)/s.exec(message);
  if (choice !== null) return `${choice[1]} ${choice[2]}: expected one of ${choice[3]!.trim()}`;
  const command = /^Did you mean (.+)\?$/.exec(message);
  if (command !== null) return `unknown command; did you mean ${command[1]}?`;
  return message.charAt(0).toLowerCase() + message.slice(1).replaceAll("\n", ", ");
}

/** The help of the group that the words name. */
async function helpFor(argv: readonly string[]): Promise<string> {
  let printed = "";
  const words = argv.filter((word) => !word.startsWith("-"));
  const parser = define(() => undefined);
  await parser.parseAsync([...words, "--help"], {}, (_error: unknown, _args: unknown, output: string) => {
    printed = output;
  });
  return `${printed}\n`;
}

type Choose = (run: (io: AgentIo) => Promise<void>) => void;

function define(choose: Choose): Argv {
  return yargs()
    .scriptName("rkl")
    .usage("$0 <command>\n\nThe worker-node agent of rk8s, and the commands that ask its control plane.")
    .locale("en")
    .exitProcess(false)
    .version(AGENT_VERSION)
    .strict()
    .recommendCommands()
    .parserConfiguration({ "duplicate-arguments-array": false, "boolean-negation": false })
    .wrap(100)
    .command("pod", "Run this host's agent, and rk8s' older spelling of the pod commands", (group) =>
      podCommands(group, choose),
    )
    .command("apply", "Create what a manifest describes", applyOptions, (args) =>
      choose(async (io) => (await import("./apply-command.js")).apply(args, io)),
    )
    .command("get <kind> [name]", "Show pods or nodes", getOptions, (args) =>
      choose(async (io) => (await import("./get-command.js")).get(args, io)),
    )
    .command("delete <kind> <name>", "Delete a pod", deleteOptions, (args) =>
      choose(async (io) => (await import("./delete-command.js")).deletePod(args, io)),
    )
    .command("logs <name>", "Print what a pod's container wrote", logOptions, (args) =>
      choose(async (io) => (await import("./logs-command.js")).logs(args, io)),
    )
    .command("status", "Say how this host's agent is", localOptions, (args) =>
      choose(async (io) => (await import("./status-command.js")).status(args, io)),
    )
    .command(
      "doctor",
      "Walk a join step by step, using up nothing, and say what to mend",
      doctorOptions,
      (args) => choose(async (io) => (await import("./doctor-command.js")).doctor(args, io)),
    )
    .demandCommand(1, INCOMPLETE)
    .epilogue(
      "Exit codes: 0 done, 64 usage, 65 bad data, 69 nothing answers, 70 internal, 75 try again, 77 refused, 78 configuration.",
    )
    .fail((message: string | null, error: unknown) => {
      throw error instanceof Error ? error : new Error(message ?? "wrong usage");
    });
}

function podCommands(group: Argv, choose: Choose): Argv {
  return group
    .command("daemon", "Join the cluster and run as its node, in the foreground", daemonOptions, (args) =>
      choose(async (io) => (await import("./daemon-command.js")).daemon(args, io)),
    )
    .command(
      "create <file>",
      "Create what a manifest describes",
      (command) =>
        localOptions(peerOptions(command)).positional("file", {
          type: "string",
          demandOption: true,
          describe: "A manifest; - reads stdin",
        }),
      (args) =>
        choose(async (io) =>
          (await import("./apply-command.js")).apply({ ...args, filename: args.file, isLocal: true }, io),
        ),
    )
    .command(
      "delete <name>",
      "Delete a pod",
      (command) => deletionOptions(localOptions(namedPod(peerOptions(command)))),
      (args) =>
        choose(async (io) => (await import("./delete-command.js")).deletePod({ ...args, isLocal: true }, io)),
    )
    .command(
      "state <name>",
      "Show one pod",
      (command) => outputOption(localOptions(namedPod(peerOptions(command)))),
      (args) =>
        choose(async (io) =>
          (await import("./get-command.js")).get({ ...args, kind: "pods", isLocal: true }, io),
        ),
    )
    .command(
      "list",
      "Show pods",
      (command) => viewOptions(localOptions(peerOptions(command))),
      (args) =>
        choose(async (io) =>
          (await import("./get-command.js")).get({ ...args, kind: "pods", isLocal: true }, io),
        ),
    )
    .demandCommand(1, INCOMPLETE)
    .epilogue(
      "create, delete, state and list ask this host's agent unless --rks-address or --socket is given.",
    );
}

const text = { type: "string", requiresArg: true } as const;

function peerOptions<T>(command: Argv<T>): Argv<T & PeerArguments> {
  return tokenOptions(command)
    .option("socket", { ...text, describe: "On the host of rks: its socket, instead of address and token" })
    .conflicts("socket", ["rks-address", "join-token", "join-token-file"]);
}

function tokenOptions<T>(command: Argv<T>): Argv<T & Omit<PeerArguments, "socket">> {
  return jsonOption(command)
    .option("rks-address", {
      ...text,
      describe: "host:port of the control plane, or of several, separated by commas [RKS_ADDRESS]",
    })
    .option("enable-tls", { type: "boolean", describe: "Accepted; TLS is always on [ENABLE_TLS]" })
    .option("root-cert-path", {
      ...text,
      describe: "root.pem of the cluster; the token pins it anyway [ROOT_CERT_PATH]",
    })
    .option("join-token", { ...text, describe: "The token itself; a file is better [JOIN_TOKEN]" })
    .option("join-token-file", {
      ...text,
      describe: "A file with the token; - reads stdin [JOIN_TOKEN_FILE]",
    })
    .conflicts("join-token", "join-token-file");
}

function localOptions<T>(command: Argv<T>): Argv<T & { "data-dir": string | undefined; json: boolean }> {
  return jsonOption(command).option("data-dir", { ...text, describe: "Data folder of this host's agent" });
}

function daemonOptions<T>(command: Argv<T>): Argv<
  T &
    Omit<PeerArguments, "socket"> & { "node-name": string | undefined; "data-dir": string | undefined } & {
      runtime: "process";
      recovery: RecoveryChoice | undefined;
      "ssh-host-key": string | undefined;
      "log-level": LogLevel;
    }
> {
  return tokenOptions(command)
    .option("node-name", { ...text, describe: "Name of the node (default: the token's, else the host's)" })
    .option("data-dir", { ...text, describe: "Where pods and logs are kept" })
    .option("runtime", {
      choices: ["process"] as const,
      default: "process" as const,
      describe: "What runs the pods",
    })
    .option("recovery", {
      choices: RECOVERY_CHOICES,
      requiresArg: true,
      describe: "Key of this machine that brings the node back after a reboot (default auto) [RKL_RECOVERY]",
    })
    .option("ssh-host-key", {
      ...text,
      describe: "Private key of this host that ssh-keygen signs with [RKL_SSH_HOST_KEY]",
    })
    .option("log-level", {
      choices: LOG_LEVELS,
      default: "warn" as const,
      describe: "What to say on stderr besides events",
    });
}

function doctorOptions<T>(command: Argv<T>): Argv<
  T &
    Omit<PeerArguments, "socket"> & { "node-name": string | undefined; "data-dir": string | undefined } & {
      role: "node" | "operator";
    }
> {
  return tokenOptions(command)
    .option("node-name", { ...text, describe: "Name that the node would ask for" })
    .option("data-dir", { ...text, describe: "Data folder of this host's agent" })
    .option("role", {
      choices: ["node", "operator"] as const,
      default: "node" as const,
      describe: "What the join token is for",
    });
}

function applyOptions<T>(command: Argv<T>): Argv<T & PeerArguments & { filename: string }> {
  return peerOptions(command).option("filename", {
    ...text,
    alias: "f",
    demandOption: true,
    describe: "A manifest in YAML or JSON; - reads stdin",
  });
}

function getOptions<T>(
  command: Argv<T>,
): Argv<T & PeerArguments & ViewArguments & { kind: ObjectKind; name: string | undefined }> {
  return viewOptions(peerOptions(command))
    .positional("kind", {
      choices: OBJECT_KINDS,
      demandOption: true,
      describe: "pods or nodes",
    })
    .positional("name", { type: "string", describe: "Only this one" });
}

function viewOptions<T>(command: Argv<T>): Argv<T & ViewArguments> {
  return outputOption(namespaceOption(command));
}

function outputOption<T>(command: Argv<T>): Argv<T & Pick<ViewArguments, "output">> {
  return command.option("output", { alias: "o", choices: OUTPUTS, describe: "How to show it" });
}

function deleteOptions<T>(command: Argv<T>): Argv<T & PeerArguments & DeletionArguments & { name: string }> {
  return deletionOptions(namedPod(peerOptions(command))).positional("kind", {
    choices: ["pod", "pods", "po"] as const,
    demandOption: true,
    describe: "pod",
  });
}

function deletionOptions<T>(command: Argv<T>): Argv<T & DeletionArguments> {
  return command
    .option("grace-period", {
      type: "number",
      requiresArg: true,
      describe: "Seconds from SIGTERM to SIGKILL (default: the pod's)",
    })
    .option("wait", {
      type: "boolean",
      default: false,
      describe: "Return when the pod is gone",
    });
}

function logOptions<T>(command: Argv<T>): Argv<T & LogArguments> {
  return namedPod(peerOptions(command))
    .option("follow", { alias: "f", type: "boolean", default: false, describe: "Go on until the pod ends" })
    .option("tail", { type: "number", requiresArg: true, describe: "Only the last lines" })
    .option("container", {
      ...text,
      alias: "c",
      describe: "Which container (default: the first)",
    });
}

function namedPod<T>(command: Argv<T>): Argv<T & { name: string; namespace: string | undefined }> {
  return namespaceOption(command).positional("name", {
    type: "string",
    demandOption: true,
    describe: "The pod",
  });
}

function namespaceOption<T>(command: Argv<T>): Argv<T & { namespace: string | undefined }> {
  return command.option("namespace", { ...text, alias: "n", describe: "Namespace of the pod" });
}

function jsonOption<T>(command: Argv<T>): Argv<T & { json: boolean }> {
  return command.option("json", { type: "boolean", default: false, describe: "Print JSON on stdout" });
}
