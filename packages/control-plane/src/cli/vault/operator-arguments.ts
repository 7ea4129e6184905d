import type { Argv } from "yargs";
import { type Choose, INCOMPLETE } from "../choose.js";
import { flag, text, vaultOptions, type VaultArguments, word } from "./vault-options.js";

type WithShares = VaultArguments & { key: string | undefined } & { "key-file": string | undefined };

/** `rks operator …`. */
export function operatorCommands(group: Argv, choose: Choose): Argv {
  return group
    .command(
      "init",
      "Says how a vault is initialised here",
      (command) => vaultOptions(command),
      () => choose(async () => (await import("./operator-commands.js")).init()),
    )
    .command(
      "unseal [key]",
      "Give unseal shares until the vault is open",
      (command) => shares(command).option("reset", flag("Forget the shares given so far")),
      (args) => choose(async (io) => (await import("./operator-commands.js")).unseal(args, io)),
    )
    .command(
      "seal",
      "Close the vault",
      (command) => vaultOptions(command),
      (args) => choose(async (io) => (await import("./operator-commands.js")).seal(args, io)),
    )
    .command(
      "key-status",
      "Tell which key encrypts, and since when",
      (command) => vaultOptions(command),
      (args) => choose(async (io) => (await import("./operator-commands.js")).keyStatus(args, io)),
    )
    .command(
      "rotate",
      "Encrypt with a new key from now on",
      (command) => vaultOptions(command),
      (args) => choose(async (io) => (await import("./operator-commands.js")).rotate(args, io)),
    )
    .command(
      "rekey [key]",
      "Replace the unseal shares: --init, then the present shares",
      (command) =>
        shares(command)
          .option("init", flag("Begin"))
          .option("key-shares", { ...text("With --init: how many shares there will be"), alias: "n" })
          .option("key-threshold", { ...text("With --init: how many of them open the vault"), alias: "t" })
          .option(
            "verify",
            flag("With --init: only new shares that are given back count; later: give them back"),
          )
          .option("nonce", text("Which attempt it is (default: the present one)"))
          .option("status", flag("Tell how far it is"))
          .option("cancel", flag("End it; the present shares stay good")),
      (args) => choose(async (io) => (await import("./rekey-command.js")).rekey(args, io)),
    )
    .command(
      "generate-root [key]",
      "Make a root token with unseal shares: --init, then shares, then --decode",
      (command) =>
        shares(command)
          .option("init", flag("Begin, and print the one-time password"))
          .option("generate-otp", flag("Print a one-time password; asks no vault"))
          .option("otp", text("The one-time password; - reads stdin"))
          .option("nonce", text("Which attempt it is (default: the present one)"))
          .option("status", flag("Tell how far it is"))
          .option("cancel", flag("End it"))
          .option("decode", text("The encoded token: print the token; needs --otp, asks no vault")),
      (args) => choose(async (io) => (await import("./generate-root-command.js")).generateRoot(args, io)),
    )
    .demandCommand(1, INCOMPLETE);
}

function shares<T>(command: Argv<T>): Argv<T & WithShares> {
  return vaultOptions(command)
    .positional("key", word("An unseal share; - reads stdin"))
    .option("key-file", text("A file with shares, or keys.json"))
    .epilogue("Without KEY: $RKS_UNSEAL_KEY.");
}
