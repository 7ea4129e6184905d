import type { CliIo } from "@rk8s/host/cli-io";
import { RksError, Secret } from "@rk8s/protocol";
import { STDIN_WORD } from "../flags.js";
import { printHint } from "../output.js";
import { readStdin } from "../secret-input.js";
import { keysTable, printReply } from "./reply-output.js";
import { textsAt } from "./reply-rows.js";
import { readData, readQuery } from "./request-data.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

/** Words of the commands that ask for a path. */
export interface PathArguments extends VaultArguments {
  readonly path: string;
  readonly data: readonly string[];
}

/** `rks read PATH [name=value …]`. @throws {RksError} NOT_FOUND, and as the vault answers. */
export async function read(args: PathArguments, io: CliIo): Promise<void> {
  const path = vaultPath(args.path);
  const query = await readQuery(args.data, io);
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "GET", path, query, wrapTtl });
  await printReply(reply, args, io, { subject: path, done: `${path} has nothing to say` });
}

/**
 * `rks write PATH name=value …`; without fields only with `--force`.
 * @throws {RksError} USAGE_INVALID, INPUT_INVALID, and as the vault answers.
 */
export async function write(args: PathArguments & { readonly force: boolean }, io: CliIo): Promise<void> {
  const path = vaultPath(args.path);
  if (args.data.length === 0 && !args.force) {
    throw new RksError("USAGE_INVALID", `nothing is given to write to ${JSON.stringify(path)}`, {
      suggestion: "Give fields as name=value, name=@FILE or @FILE.json, or --force to write none.",
    });
  }
  const body = await readData(args.data, io);
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "POST", path, body, wrapTtl });
  await printReply(reply, args, io, { subject: path, done: `written to ${path}` });
}

/** `rks list PATH`. @throws {RksError} NOT_FOUND when there is nothing, and as the vault answers. */
export async function list(args: PathArguments, io: CliIo): Promise<void> {
  const path = vaultPath(args.path);
  const query = await readQuery(args.data, io);
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "LIST", path, query, wrapTtl });
  await printReply(reply, args, io, {
    subject: path,
    done: `${path} is empty`,
    table: (data) => keysTable(textsAt(data)),
  });
}

/** `rks delete PATH`. @throws {RksError} as the vault answers. */
export async function remove(args: PathArguments, io: CliIo): Promise<void> {
  const path = vaultPath(args.path);
  const query = await readQuery(args.data, io);
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "DELETE", path, query, wrapTtl });
  await printReply(reply, args, io, { subject: path, done: `deleted ${path}` });
}

/**
 * `rks unwrap [TOKEN]`: fetch a kept answer, once. Without a token it is that of the request itself.
 * @throws {RksError} INPUT_INVALID when the token is used, expired or no wrapping token.
 */
export async function unwrap(
  args: VaultArguments & { readonly token?: string | undefined },
  io: CliIo,
): Promise<void> {
  const token = args.token === undefined ? undefined : await namedToken(args.token, io);
  const { client } = await findVault(args, io);
  const body = token === undefined ? {} : { token: token.reveal() };
  const reply = await client.ask({ method: "POST", path: "sys/wrapping/unwrap", body });
  await printReply(reply, args, io, { subject: "sys/wrapping/unwrap", done: "there was nothing in it" });
}

/** A token from a command's words; `-` reads stdin. */
export async function namedToken(word: string, io: CliIo): Promise<Secret<string>> {
  if (word === STDIN_WORD) return new Secret((await readStdin(io)).trim());
  printHint(io, "other users can see command lines: better - (stdin)");
  return new Secret(word);
}

/** A path as the vault has it. @throws {RksError} USAGE_INVALID when there is nothing in it. */
export function vaultPath(given: string): string {
  const path = given.replace(/^\/v1\//, "").replace(/^\/+/, "");
  if (path !== "" && path !== STDIN_WORD) return path;
  throw new RksError("USAGE_INVALID", `${JSON.stringify(given.replace(STDIN_WORD, "-"))} is not a path`, {
    suggestion: "Give one such as pki/roles/web.",
  });
}
