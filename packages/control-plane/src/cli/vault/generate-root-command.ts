import { randomInt } from "node:crypto";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { VaultReply } from "../../http/vault-client.js";
import { STDIN_WORD } from "../flags.js";
import { printHint } from "../output.js";
import { readStdin } from "../secret-input.js";
import type { ShareArguments } from "../unseal-shares.js";
import { shares } from "./operator-commands.js";
import { formatOf, printAs, printReply } from "./reply-output.js";
import { giveShares, presentNonce } from "./rekey-command.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

const ATTEMPT = "sys/generate-root/attempt";
const OTP_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

export interface GenerateRootArguments extends VaultArguments, ShareArguments {
  readonly init: boolean;
  readonly "generate-otp": boolean;
  readonly otp?: string | undefined;
  readonly nonce?: string | undefined;
  readonly status: boolean;
  readonly cancel: boolean;
  readonly decode?: string | undefined;
}

/**
 * `rks operator generate-root`: `--init` begins and prints a one-time password, further calls give unseal shares, the
 * last one needed prints the token masked with it, `--decode` unmasks it in this process.
 * @throws {RksError} USAGE_INVALID, UNSEAL_KEY_INVALID, and as the vault answers.
 */
export async function generateRoot(args: GenerateRootArguments, io: CliIo): Promise<void> {
  if ([args.init, args.status, args.cancel, args["generate-otp"], args.decode].filter(Boolean).length > 1) {
    throw new RksError(
      "USAGE_INVALID",
      "--init, --status, --cancel, --generate-otp and --decode exclude each other",
      {
        suggestion: "Give one of them.",
      },
    );
  }
  if (args["generate-otp"]) await print("otp", await newOtp(), args, io);
  else if (args.decode !== undefined) await decode(args.decode, args, io);
  else await ask(args, io);
}

async function ask(args: GenerateRootArguments, io: CliIo): Promise<void> {
  const reply = await carryOut(args, io);
  await printReply(reply, args, io, { subject: "sys/generate-root", done: "cancelled" });
  if (reply.type !== "document") return;
  const { document } = reply;
  if (document["complete"] === true) {
    printHint(io, "unmask it with `rks operator generate-root --decode ENCODED_TOKEN --otp -`");
  } else if (document["started"] === true) {
    const otp = args.init && args.otp === undefined ? "keep the otp: it unmasks the token; " : "";
    printHint(io, `${otp}give a share with \`rks operator generate-root --key-file FILE\``);
  }
}

async function carryOut(args: GenerateRootArguments, io: CliIo): Promise<VaultReply> {
  if (args.init) {
    const body = args.otp === undefined ? {} : { otp: await otpOf(args.otp, io) };
    const { client } = await findVault(args, io);
    return client.ask({ method: "POST", path: ATTEMPT, body });
  }
  if (args.status || args.cancel) {
    const { client } = await findVault(args, io);
    return client.ask({ method: args.cancel ? "DELETE" : "GET", path: ATTEMPT });
  }
  const given = await shares(args, io);
  const { client } = await findVault(args, io);
  const nonce = args.nonce ?? (await presentNonce(client, ATTEMPT));
  return giveShares(client, given, nonce, "sys/generate-root/update");
}

async function decode(encoded: string, args: GenerateRootArguments, io: CliIo): Promise<void> {
  if (args.otp === undefined) {
    throw new RksError("USAGE_INVALID", "--decode needs the one-time password", {
      suggestion: "Give it on stdin, with --otp -.",
    });
  }
  const { decodeRootToken } = await import("../../vault/seal/root-generation.js");
  const token = decodeRootToken(encoded, await otpOf(args.otp, io));
  await print("token", token.reveal(), args, io);
}

async function otpOf(given: string, io: CliIo): Promise<string> {
  if (given === STDIN_WORD) return (await readStdin(io)).trim();
  printHint(io, "other users can see command lines: better --otp - (stdin)");
  return given;
}

async function newOtp(): Promise<string> {
  const { OTP_CHARACTERS } = await import("../../vault/seal/root-generation.js");
  const characters = Array.from(
    { length: OTP_CHARACTERS },
    () => OTP_ALPHABET[randomInt(OTP_ALPHABET.length)],
  );
  return characters.join("");
}

async function print(name: string, value: string, args: VaultArguments, io: CliIo): Promise<void> {
  const format = formatOf(args, io);
  if (format === "table") io.stdout(`${value}\n`);
  else await printAs(format, { [name]: value }, io);
}
