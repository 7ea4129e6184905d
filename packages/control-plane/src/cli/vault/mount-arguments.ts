import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "../choose.js";
import { flag, required, text, texts, vaultOptions, type VaultArguments } from "./vault-options.js";

const PATH = "Where it is mounted";

/** `rks secrets …`. */
export function secretsCommands(group: Argv, choose: Choose): Argv {
  return mountCommands(group, choose, { kind: "secrets", what: "secrets engine", types: "pki, kv, kv-v2" });
}

/** `rks auth …`. */
export function authCommands(group: Argv, choose: Choose): Argv {
  return mountCommands(group, choose, {
    kind: "auth",
    what: "login method",
    types: "approle, kubernetes, cert, join-token",
  });
}

interface Kind {
  readonly kind: "secrets" | "auth";
  readonly what: string;
  readonly types: string;
}

function mountCommands(group: Argv, choose: Choose, { kind, what, types }: Kind): Argv {
  return group
    .command(
      "enable <type>",
      `Mount a ${what}`,
      (command) =>
        tuning(command)
          .positional("type", required(types))
          .option("path", text("Where to mount it (default: the type)"))
          .option("local", flag("Kept for other vaults; has no effect"))
          .option("seal-wrap", flag("Kept for other vaults; has no effect")),
      (args) => choose(async (io) => (await import("./mount-commands.js")).enableMount(kind, args, io)),
    )
    .command(
      "disable <path>",
      `Unmount a ${what}: everything in it is deleted, what it gave out is revoked`,
      (command) => vaultOptions(command).positional("path", required(PATH)),
      (args) => choose(async (io) => (await import("./mount-commands.js")).disableMount(kind, args, io)),
    )
    .command(
      "list",
      "List what is mounted",
      (command) => vaultOptions(command).option("detailed", flag("Show lifetimes, options and ids as well")),
      (args) => choose(async (io) => (await import("./mount-commands.js")).listMounts(kind, args, io)),
    )
    .command(
      "tune <path>",
      "Change how it is mounted; without flags show it",
      (command) => tuning(command).positional("path", required(PATH)),
      (args) => choose(async (io) => (await import("./mount-commands.js")).tuneMount(kind, args, io)),
    )
    .command(
      "move <source> <destination>",
      "Mount it at another path: what it gave out is revoked, what it stores moves",
      (command) =>
        vaultOptions(command)
          .positional("source", required(PATH))
          .positional("destination", required("Where it is to be")),
      (args) => choose(async (io) => (await import("./mount-commands.js")).moveMount(kind, args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}

/** Flags of how something is mounted. */
function tuning<T>(command: Argv<T>): Argv<T & VaultArguments & TuningArguments> {
  return vaultOptions(command)
    .version(false)
    .option("description", text("What it is for"))
    .option("default-lease-ttl", text("How long leases, tokens and certificates last by default"))
    .option("max-lease-ttl", text("How long they last at most"))
    .option("version", text("Of a kv engine: 1 or 2"))
    .option("options", texts("name=value; can be repeated"))
    .option("force-no-cache", { ...text("true or false"), choices: ["true", "false"] as const })
    .option("listing-visibility", text("unauth: shown to everybody; hidden"))
    .option("token-type", text("Of a login method: default-service, default-batch, service or batch"))
    .option(
      "audit-non-hmac-request-keys",
      texts("A field of requests that audit lines show in clear; can be repeated"),
    )
    .option(
      "audit-non-hmac-response-keys",
      texts("A field of answers that audit lines show in clear; can be repeated"),
    )
    .option("passthrough-request-headers", texts("A header that reaches it; can be repeated"))
    .option("allowed-response-headers", texts("A header that it may answer with; can be repeated"));
}

export interface TuningArguments {
  readonly description: string | undefined;
  readonly "default-lease-ttl": string | undefined;
  readonly "max-lease-ttl": string | undefined;
  readonly version: string | undefined;
  readonly options: readonly string[] | undefined;
  readonly "force-no-cache": string | undefined;
  readonly "listing-visibility": string | undefined;
  readonly "token-type": string | undefined;
  readonly "audit-non-hmac-request-keys": readonly string[] | undefined;
  readonly "audit-non-hmac-response-keys": readonly string[] | undefined;
  readonly "passthrough-request-headers": readonly string[] | undefined;
  readonly "allowed-response-headers": readonly string[] | undefined;
}
