import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { VaultReply } from "../../http/vault-client.js";
import { printHint } from "../output.js";
import { givenShares, type ShareArguments } from "../unseal-shares.js";
import { printReply } from "./reply-output.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

/** `rks operator init`: there is another way. @throws {RksError} USAGE_INVALID, always. */
export function init(): never {
  throw new RksError("USAGE_INVALID", "a vault of rks is initialised together with the cluster's CA", {
    suggestion: "Run `rks gen certs --config FILE`; it writes the unseal shares to keys.json.",
  });
}

/**
 * `rks operator unseal`: gives every share it has until the vault is open; fewer than needed is no error.
 * @throws {RksError} UNSEAL_KEY_INVALID, USAGE_INVALID without a share.
 */
export async function unseal(
  args: VaultArguments & ShareArguments & { readonly reset: boolean },
  io: CliIo,
): Promise<void> {
  const keys = args.reset ? [] : await shares(args, io);
  const { client } = await findVault(args, io);
  const path = "sys/unseal";
  let reply: VaultReply = args.reset
    ? await client.ask({ method: "POST", path, body: { reset: true } })
    : await client.ask({ method: "GET", path: "sys/seal-status" });
  for (const key of keys) {
    if (reply.type === "document" && reply.document["sealed"] === false) break;
    reply = await client.ask({ method: "POST", path, body: { key } });
  }
  await printReply(reply, args, io, { subject: path, done: "done" });
  if (reply.type === "document" && reply.document["sealed"] === true) {
    printHint(io, "give the next share with `rks operator unseal`");
  }
}

/** `rks operator seal`. @throws {RksError} PERMISSION_DENIED. */
export async function seal(args: VaultArguments, io: CliIo): Promise<void> {
  const { client } = await findVault(args, io);
  const reply = await client.ask({ method: "POST", path: "sys/seal" });
  await printReply(reply, args, io, { subject: "sys/seal", done: "sealed" });
  printHint(io, "agents are disconnected until `rks operator unseal`");
}

/** `rks operator key-status`. @throws {RksError} as the vault answers. */
export async function keyStatus(args: VaultArguments, io: CliIo): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "GET", path: "sys/key-status", wrapTtl });
  await printReply(reply, args, io, { subject: "sys/key-status", done: "unknown" });
}

/** `rks operator rotate`: prints what `key-status` does afterwards. @throws {RksError} as the vault answers. */
export async function rotate(args: VaultArguments, io: CliIo): Promise<void> {
  const { client } = await findVault(args, io);
  const rotated = await client.ask({ method: "POST", path: "sys/rotate" });
  const reply =
    rotated.type === "done" ? await client.ask({ method: "GET", path: "sys/key-status" }) : rotated;
  await printReply(reply, args, io, { subject: "sys/rotate", done: "rotated" });
  printHint(io, "the unseal shares stay the same: `rks operator rekey` replaces them");
}

/** The shares that a command is given. @throws {RksError} USAGE_INVALID when there are none. */
export async function shares(args: ShareArguments, io: CliIo): Promise<readonly string[]> {
  const given = await givenShares(args, io);
  if (given !== undefined) return given;
  throw new RksError("USAGE_INVALID", "no unseal key is given", {
    suggestion: "Give one with --key-file FILE or on stdin with `-`.",
  });
}
