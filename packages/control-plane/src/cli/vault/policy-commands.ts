import { printable } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { STDIN_WORD } from "../flags.js";
import { readSecretFile, readStdin } from "../secret-input.js";
import { keysTable, printReply } from "./reply-output.js";
import { cellOf, textsAt } from "./reply-rows.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

const POLICIES = "sys/policies/acl";
/** What a vault takes as a policy, with room for the escapes of JSON. */
const MAX_POLICY_BYTES = 262_144;

interface NamedPolicy extends VaultArguments {
  readonly name: string;
}

/** `rks policy list`. @throws {RksError} as the vault answers. */
export async function listPolicies(args: VaultArguments, io: CliIo): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "LIST", path: POLICIES, wrapTtl });
  await printReply(reply, args, io, {
    subject: POLICIES,
    done: "there are no policies",
    table: (data) => keysTable(textsAt(data)),
  });
}

/** `rks policy read NAME`. @throws {RksError} NOT_FOUND, and as the vault answers. */
export async function readPolicy(args: NamedPolicy, io: CliIo): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "GET", path: pathOf(args.name), wrapTtl });
  await printReply(reply, args, io, {
    subject: pathOf(args.name),
    done: "the policy is empty",
    table: (data) => `${printable(cellOf(data["policy"]).trimEnd())}\n`,
  });
}

/** `rks policy write NAME FILE`. @throws {RksError} INPUT_INVALID with the line of a policy that is refused. */
export async function writePolicy(args: NamedPolicy & { readonly file: string }, io: CliIo): Promise<void> {
  const policy =
    args.file === STDIN_WORD
      ? await readStdin(io, MAX_POLICY_BYTES)
      : await readSecretFile(args.file, io, MAX_POLICY_BYTES);
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "POST", path: pathOf(args.name), body: { policy }, wrapTtl });
  await printReply(reply, args, io, { subject: pathOf(args.name), done: `wrote policy ${args.name}` });
}

/** `rks policy delete NAME`. @throws {RksError} as the vault answers. */
export async function deletePolicy(args: NamedPolicy, io: CliIo): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "DELETE", path: pathOf(args.name), wrapTtl });
  await printReply(reply, args, io, { subject: pathOf(args.name), done: `deleted policy ${args.name}` });
}

function pathOf(name: string): string {
  return `${POLICIES}/${name}`;
}
