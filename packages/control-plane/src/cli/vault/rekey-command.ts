import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { VaultClient, VaultDocument, VaultReply } from "../../http/vault-client.js";
import { formatFields, printHint } from "../output.js";
import type { ShareArguments } from "../unseal-shares.js";
import { shares } from "./operator-commands.js";
import { printReply } from "./reply-output.js";
import { cellOf, rowsOf, textsAt } from "./reply-rows.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

/** Parts of the answer that are shown in other words. */
const HIDDEN = new Set(["keys", "keys_base64", "warnings", "pgp_fingerprints", "backup"]);

export interface RekeyArguments extends VaultArguments, ShareArguments {
  readonly init: boolean;
  readonly "key-shares"?: string | undefined;
  readonly "key-threshold"?: string | undefined;
  readonly verify: boolean;
  readonly nonce?: string | undefined;
  readonly status: boolean;
  readonly cancel: boolean;
}

/**
 * `rks operator rekey`: `--init` begins, further calls give the present unseal shares, the last one needed prints the
 * new ones. Where they must be verified, `--verify` gives them back.
 * @throws {RksError} USAGE_INVALID, UNSEAL_KEY_INVALID, and as the vault answers.
 */
export async function rekey(args: RekeyArguments, io: CliIo): Promise<void> {
  if ([args.init, args.status, args.cancel].filter(Boolean).length > 1) {
    throw new RksError("USAGE_INVALID", "--init, --status and --cancel exclude each other", {
      suggestion: "Give one of them.",
    });
  }
  const reply = await carryOut(args, io);
  await printReply(reply, args, io, {
    subject: "sys/rekey",
    done: "cancelled: the present shares stay good",
    table: keysAndFields,
  });
  if (reply.type === "document") printHint(io, nextStep(reply.document, args));
}

/** New shares one a line, then the rest. */
function keysAndFields(data: VaultDocument): string {
  const keys = textsAt(data, "keys_base64").map((key, i) => `Unseal Key ${i + 1}: ${key}\n`);
  const fields = rowsOf(data).filter(([name]) => !HIDDEN.has(name));
  const rest = formatFields(fields.map(([name, value]) => [name, cellOf(value)]));
  return keys.length === 0 ? rest : `${keys.join("")}\n${rest}`;
}

function nextStep(answer: VaultDocument, args: RekeyArguments): string {
  const isComplete = answer["complete"] === true;
  if (isComplete && answer["verification_required"] === true) {
    return "nothing has changed yet: give the new shares back with `rks operator rekey --verify`";
  }
  if (isComplete && args.verify) return "the new shares are in force: the old ones open nothing any more";
  if (isComplete) return "the old shares open nothing any more: these are seen this once, store them now";
  if (answer["started"] !== true) return "begin with `rks operator rekey --init`";
  return `give a share with \`rks operator rekey${args.verify && !args.init ? " --verify" : ""} --key-file FILE\``;
}

async function carryOut(args: RekeyArguments, io: CliIo): Promise<VaultReply> {
  if (args.init) {
    const body = {
      secret_shares: args["key-shares"] ?? "5",
      secret_threshold: args["key-threshold"] ?? "3",
      require_verification: args.verify,
    };
    const { client } = await findVault(args, io);
    return client.ask({ method: "POST", path: "sys/rekey/init", body });
  }
  const status = args.verify ? "sys/rekey/verify" : "sys/rekey/init";
  if (args.status || args.cancel) {
    const { client } = await findVault(args, io);
    return client.ask({ method: args.cancel ? "DELETE" : "GET", path: status });
  }
  const given = await shares(args, io);
  const { client } = await findVault(args, io);
  const nonce = args.nonce ?? (await presentNonce(client, status));
  return giveShares(client, given, nonce, args.verify ? status : "sys/rekey/update");
}

/** Give shares until the vault has enough. */
export async function giveShares(
  client: VaultClient,
  given: readonly string[],
  nonce: string,
  path: string,
): Promise<VaultReply> {
  let reply: VaultReply = { type: "done" };
  for (const key of given) {
    reply = await client.ask({ method: "POST", path, body: { key, nonce } });
    if (reply.type === "document" && reply.document["complete"] === true) break;
  }
  return reply;
}

/** The attempt that is under way. @throws {RksError} INPUT_INVALID when there is none. */
export async function presentNonce(client: VaultClient, path: string): Promise<string> {
  const reply = await client.ask({ method: "GET", path });
  const nonce = reply.type === "document" ? reply.document["nonce"] : "";
  if (typeof nonce === "string" && nonce !== "") return nonce;
  throw new RksError("INPUT_INVALID", "none is under way", { suggestion: "Begin with --init." });
}
