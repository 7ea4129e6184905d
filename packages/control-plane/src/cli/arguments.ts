import yargs, { type Argv } from "yargs";
import type { LogFormat, LogLevel } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { caCommands } from "./ca-arguments.js";
import { type Choose, INCOMPLETE } from "./choose.js";
import { type ClusterArguments, LOG_FORMATS, LOG_LEVELS, STDIN_WORD, type TargetArguments } from "./flags.js";
import { gatherRepeated } from "./repeated-flags.js";
import { storageCommands } from "./storage-arguments.js";
import { clusterOptions, configOption, jsonOption, targetOptions } from "./target-options.js";
import { isVaultVerb, vaultCommands } from "./vault/vault-commands.js";
import { VERSION } from "../version.js";

/** What the command line asks for. */
export type Invocation =
  | { readonly type: "print"; readonly text: string }
  | { readonly type: "run"; readonly run: (io: CliIo) => Promise<void> }
  /** A group of commands without one of them: help, and wrong usage. */
  | { readonly type: "incomplete"; readonly help: string }
  | { readonly type: "misuse"; readonly problem: string };

const STDIN_FLAG = /^(--[a-z][\w-]*=)-$/;
const LONG_FLAG = /^-[a-z][\w-]+(=|$)/s;
/** Commands besides the verbs of the vault that read a secret from stdin when a word says so. */
const CLUSTER_COMMANDS = new Set(["gen", "join-token", "node", "ca"]);

/**
 * Read the command line. Nothing but yargs is loaded for that, and a command's own code only when it runs, so that
 * help stays fast.
 */
export async function parseArguments(argv: readonly string[]): Promise<Invocation> {
  let run: ((io: CliIo) => Promise<void>) | undefined;
  let printed = "";
  const parser = define((chosen) => {
    run = chosen;
  });
  try {
    const words = wordsOf(argv);
    await parser.parseAsync(words, {}, (_error: unknown, _args: unknown, output: string) => {
      printed = output;
    });
  } catch (reason) {
    const message = (reason instanceof Error ? reason.message : String(reason)).replaceAll(STDIN_WORD, "-");
    if (message === INCOMPLETE) return { type: "incomplete", help: await helpFor(argv) };
    return { type: "misuse", problem: message.charAt(0).toLowerCase() + message.slice(1) };
  }
  if (run !== undefined) return { type: "run", run };
  return { type: "print", text: `${printed}\n` };
}

/** The words as yargs takes them; the verbs of the vault know `-field` for `--field`, as the `vault` command does. */
function wordsOf(argv: readonly string[]): readonly string[] {
  const [first = ""] = argv;
  const isVault = isVaultVerb(first);
  const hasTokenFile = isVault || CLUSTER_COMMANDS.has(first);
  if (!hasTokenFile && first !== "unseal") return argv;
  const words = CLUSTER_COMMANDS.has(first) ? gatherRepeated(argv) : argv;
  return words.map((word) => {
    if (word === "-") return STDIN_WORD;
    const flag = isVault && LONG_FLAG.test(word) ? `-${word}` : word;
    return hasTokenFile ? flag.replace(STDIN_FLAG, `$1${STDIN_WORD}`) : flag;
  });
}

/** The help of the group that the words name. */
async function helpFor(argv: readonly string[]): Promise<string> {
  let printed = "";
  const words = argv.filter((word) => !word.startsWith("-"));
  await define(() => undefined).parseAsync(
    [...words, "--help"],
    {},
    (_error: unknown, _args: unknown, output: string) => {
      printed = output;
    },
  );
  return `${printed}\n`;
}

function define(choose: Choose): Argv {
  const parser = yargs()
    .scriptName("rks")
    .usage(
      "$0 <command>\n\nThe control plane of rk8s: nodes join it and run pods, and its vault is the cluster's CA.",
    )
    .locale("en")
    .exitProcess(false)
    .version(VERSION)
    .strict()
    .recommendCommands()
    .parserConfiguration({ "duplicate-arguments-array": false, "boolean-negation": false })
    .wrap(100)
    .command("config", "Write a config file", (group) => configCommands(group, choose))
    .command("gen", "Make the cluster's CA, certificates for its store, or a join token", (group) =>
      genCommands(group, choose),
    )
    .command("start", "Run the control plane in the foreground", startOptions, (args) =>
      choose(async (io) => (await import("./start-command.js")).start(args, io)),
    )
    .command("join-token", "List and revoke join tokens", (group) => joinTokenCommands(group, choose))
    .command("node", "List, show, renew, rejoin, ban and evict nodes", (group) => nodeCommands(group, choose))
    .command("ca", "Rotate the cluster's root, or the intermediate of an offline one", (group) =>
      caCommands(group, choose),
    )
    .command("storage", "Say where the store is, move it, back it up, check it", (group) =>
      storageCommands(group, choose),
    )
    .command("status", "Say how the running rks is", clusterOptions, (args) =>
      choose(async (io) => (await import("./seal-commands.js")).status(args, io)),
    )
    .command("unseal [key]", "Open the vault of the running rks", unsealOptions, (args) =>
      choose(async (io) => (await import("./seal-commands.js")).unseal(args, io)),
    )
    .command("seal", "Close the vault: agents are disconnected, nothing is issued", clusterOptions, (args) =>
      choose(async (io) => (await import("./seal-commands.js")).seal(args, io)),
    )
    .command(
      "doctor",
      "Look at config, disk and the running rks, and say what to mend",
      doctorOptions,
      (args) => choose(async (io) => (await import("./doctor-command.js")).doctor(args, io)),
    )
    .demandCommand(1, INCOMPLETE)
    .epilogue(
      "The verbs of the vault, and gen join-token, join-token, node, ca, status, unseal and seal, ask the socket of rks, or $VAULT_ADDR with $VAULT_TOKEN and $VAULT_CACERT.",
    )
    .epilogue(
      "Exit codes: 0 done, 64 usage, 65 bad data, 69 nothing answers, 70 internal, 75 try again, 77 refused, 78 configuration.",
    )
    .fail((message: string | null, error: unknown) => {
      throw error instanceof Error ? error : new Error(message ?? "wrong usage");
    });
  return vaultCommands(parser, choose);
}

function configCommands(group: Argv, choose: Choose): Argv {
  return group
    .command(
      "init [file]",
      "Write a commented config.yaml that works as it is",
      (command) =>
        jsonOption(
          command.positional("file", {
            type: "string",
            default: "config.yaml",
            describe: "Where to write it",
          }),
        ),
      (args) => choose(async (io) => (await import("./config-command.js")).configInit(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}

function genCommands(group: Argv, choose: Choose): Argv {
  return group
    .command(
      ["certs [file]", "pems [file]"],
      "Initialise the vault: cluster CA, roles, policies, unseal material",
      (command) =>
        jsonOption(
          command
            .positional("file", { type: "string", describe: "The config file, as --config" })
            .option("config", { type: "string", requiresArg: true, describe: "The config file" }),
        ),
      (args) => choose(async (io) => (await import("./gen-certs-command.js")).genCerts(args, io)),
    )
    .command(
      "xline-certs",
      "Make certificates for members of the external store, or for another host that runs rks",
      (command) =>
        targetOptions(command)
          .option("endpoint", {
            type: "string",
            array: true,
            requiresArg: true,
            describe: "A member, like https://store-4:2379 (default: all of the config)",
          })
          .option("rks", {
            type: "string",
            array: true,
            requiresArg: true,
            describe: "Another host that is to run rks on the store: a name for it",
          }),
      (args) => choose(async (io) => (await import("./xline-certs-command.js")).genXlineCerts(args, io)),
    )
    .command(
      "join-token",
      "Make a token that lets a node or an operator in",
      (command) =>
        clusterOptions(command)
          .option("ttl", {
            type: "string",
            requiresArg: true,
            describe: "1s to 24h (default 10m; operators 8h)",
          })
          .option("uses", {
            type: "string",
            requiresArg: true,
            describe: "How many nodes may join with it (default 1)",
          })
          .option("node", {
            type: "string",
            requiresArg: true,
            describe: "The only node name it is good for",
          })
          .option("cidr", {
            type: "string",
            requiresArg: true,
            describe: "The only addresses it is good from",
          })
          .option("role", {
            choices: ["node", "operator"] as const,
            default: "node" as const,
            describe: "Who it lets in",
          })
          .option("policy", {
            type: "string",
            requiresArg: true,
            describe: "What operators may: a policy of the vault, or several with commas (default operator)",
          })
          .option("recoveries", {
            type: "string",
            requiresArg: true,
            describe: "How often a node may come back without its key in a window (default 0)",
          })
          .option("recovery-window", {
            type: "string",
            requiresArg: true,
            describe: "1m to 30d (default 24h)",
          })
          .option("out", {
            type: "string",
            requiresArg: true,
            describe: "Folder to write join.token and root.pem to",
          }),
      (args) => choose(async (io) => (await import("./join-token-commands.js")).genJoinToken(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}

function joinTokenCommands(group: Argv, choose: Choose): Argv {
  return group
    .command("list", "List join tokens, without their secrets", clusterOptions, (args) =>
      choose(async (io) => (await import("./join-token-commands.js")).listJoinTokens(args, io)),
    )
    .command(
      "revoke <id>",
      "Make a join token worthless from now on",
      (command) =>
        clusterOptions(command).positional("id", {
          type: "string",
          demandOption: true,
          describe: "As listed",
        }),
      (args) => choose(async (io) => (await import("./join-token-commands.js")).revokeJoinToken(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}

function nodeCommands(group: Argv, choose: Choose): Argv {
  return group
    .command("list", "List the nodes", clusterOptions, (args) =>
      choose(async (io) => (await import("./node-commands.js")).listNodes(args, io)),
    )
    .command("show <name>", "Show one node", namedNode, (args) =>
      choose(async (io) => (await import("./node-commands.js")).showNode(args, io)),
    )
    .command("rejoin <name>", "Make a token that lets a known node in again", rejoinOptions, (args) =>
      choose(async (io) => (await import("./node-commands.js")).rejoinNode(args, io)),
    )
    .command("renew <name>", "Have a node renew its certificate now", reasonOptions, (args) =>
      choose(async (io) => (await import("./node-commands.js")).renewNode(args, io)),
    )
    .command("ban <name>", "End a node's connection and refuse it until unban", reasonOptions, (args) =>
      choose(async (io) => (await import("./node-commands.js")).banNode(args, io)),
    )
    .command("unban <name>", "Let a refused node in again", namedNode, (args) =>
      choose(async (io) => (await import("./node-commands.js")).unbanNode(args, io)),
    )
    .command("evict <name>", "End a node's connection and forget it", namedNode, (args) =>
      choose(async (io) => (await import("./node-commands.js")).evictNode(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}

function namedNode<T>(command: Argv<T>): Argv<T & ClusterArguments & { name: string }> {
  return clusterOptions(command).positional("name", {
    type: "string",
    demandOption: true,
    describe: "The node",
  });
}

function reasonOptions<T>(
  command: Argv<T>,
): Argv<T & ClusterArguments & { name: string } & { reason: string | undefined }> {
  return namedNode(command).option("reason", {
    type: "string",
    requiresArg: true,
    describe: "For the audit log, and for whoever reads `rks node show`",
  });
}

function rejoinOptions<T>(
  command: Argv<T>,
): Argv<T & ClusterArguments & { name: string } & { out: string | undefined }> {
  return namedNode(command).option("out", {
    type: "string",
    requiresArg: true,
    describe: "Folder to write join.token and root.pem to",
  });
}

function unsealOptions<T>(
  command: Argv<T>,
): Argv<T & TargetArguments & { key: string | undefined } & { "key-file": string | undefined }> {
  return targetOptions(command)
    .positional("key", { type: "string", describe: "An unseal share; - reads stdin" })
    .option("key-file", { type: "string", requiresArg: true, describe: "A file with shares, or keys.json" })
    .epilogue(
      "Without KEY: --key-file, else $RKS_UNSEAL_KEY, else what `gen certs` left beside the vault of --config. Without --config and --socket, $VAULT_ADDR is asked over HTTPS when it is set: then with no KEY on the command line, and never with what was left beside a vault.",
    );
}

function doctorOptions<T>(command: Argv<T>): Argv<T & { json: boolean } & { config: string | undefined }> {
  return configOption(jsonOption(command));
}

function startOptions<T>(command: Argv<T>): Argv<
  T & { json: boolean } & { config: string | undefined } & { "log-level": LogLevel } & {
    "log-format": LogFormat;
  }
> {
  return configOption(jsonOption(command))
    .option("log-level", { choices: LOG_LEVELS, default: "info" as const, describe: "What to say on stderr" })
    .option("log-format", { choices: LOG_FORMATS, default: "text" as const, describe: "How to say it" });
}
