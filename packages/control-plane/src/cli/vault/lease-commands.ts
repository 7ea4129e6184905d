import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { printReply } from "./reply-output.js";
import { vaultPath } from "./value-commands.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

interface NamedLease extends VaultArguments {
  readonly id: string;
}

/** `rks lease lookup ID`. @throws {RksError} as the vault answers. */
export async function lookupLease(args: NamedLease, io: CliIo): Promise<void> {
  await ask("sys/leases/lookup", { lease_id: args.id }, args, io, "the lease says nothing");
}

/** `rks lease renew ID`. @throws {RksError} INPUT_INVALID when it cannot be renewed. */
export async function renewLease(
  args: NamedLease & { readonly increment?: string | undefined },
  io: CliIo,
): Promise<void> {
  const increment = args.increment === undefined ? {} : { increment: args.increment };
  await ask("sys/leases/renew", { lease_id: args.id, ...increment }, args, io, "renewed");
}

/** `rks lease revoke ID`, or with `--prefix` all below a path. @throws {RksError} USAGE_INVALID, and as the vault answers. */
export async function revokeLease(
  args: NamedLease & { readonly prefix: boolean; readonly force: boolean; readonly sync: boolean },
  io: CliIo,
): Promise<void> {
  const { id, prefix, force, sync } = args;
  if (force && !prefix) {
    throw new RksError("USAGE_INVALID", "--force is for many leases at once", {
      suggestion: "Give --prefix as well.",
    });
  }
  if (!prefix) {
    await ask("sys/leases/revoke", { lease_id: id, sync }, args, io, "revoked");
    return;
  }
  const below = vaultPath(id);
  const path = `sys/leases/revoke-${force ? "force" : "prefix"}/${below}`;
  await ask(path, { sync }, args, io, `revoked what was made below ${below}`);
}

async function ask(path: string, body: object, args: VaultArguments, io: CliIo, done: string): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "POST", path, body, wrapTtl });
  await printReply(reply, args, io, { subject: path, done });
}
