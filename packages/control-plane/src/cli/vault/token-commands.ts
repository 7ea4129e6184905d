import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { keysTable, printReply } from "./reply-output.js";
import { textsAt } from "./reply-rows.js";
import { namedToken, vaultPath } from "./value-commands.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

interface WhichToken extends VaultArguments {
  readonly token?: string | undefined;
  readonly accessor?: string | undefined;
}

/** Which of a login method's paths to ask, and with what. */
interface Named {
  readonly suffix: "" | "-self" | "-accessor";
  readonly body: Readonly<Record<string, string>>;
}

/** `rks token lookup [TOKEN]`. @throws {RksError} PERMISSION_DENIED when there is no such token. */
export async function lookupToken(args: WhichToken, io: CliIo): Promise<void> {
  const { suffix, body } = await whichToken(args, io);
  await ask(`auth/token/lookup${suffix}`, body, args, io, "the token says nothing");
}

/** `rks token renew [TOKEN]`. @throws {RksError} INPUT_INVALID when it cannot be renewed. */
export async function renewToken(
  args: WhichToken & { readonly increment?: string | undefined },
  io: CliIo,
): Promise<void> {
  const { suffix, body } = await whichToken(args, io);
  const increment = args.increment === undefined ? {} : { increment: args.increment };
  await ask(`auth/token/renew${suffix}`, { ...body, ...increment }, args, io, "renewed");
}

/**
 * `rks token revoke`. Only `--self` ends the token of the request: a word that is left out must not.
 * @throws {RksError} USAGE_INVALID unless exactly one is named, and as the vault answers.
 */
export async function revokeToken(
  args: WhichToken & { readonly self: boolean; readonly mode?: string | undefined },
  io: CliIo,
): Promise<void> {
  const { token, mode } = args;
  if ([token, args.accessor, args.self || undefined].filter((one) => one !== undefined).length !== 1) {
    throw misuse(
      "one token must be named",
      "Give the token (or - for stdin), --accessor ACCESSOR, or --self.",
    );
  }
  if (mode !== undefined && token === undefined) {
    throw misuse(`--mode ${mode} needs a ${mode === "path" ? "path" : "token"}`, "Give it as a word.");
  }
  if (mode === "path") {
    await ask(`sys/leases/revoke-prefix/${vaultPath(token ?? "")}`, {}, args, io, "revoked");
    return;
  }
  const { suffix, body } = await whichToken(args, io);
  const path = mode === "orphan" ? "auth/token/revoke-orphan" : `auth/token/revoke${suffix}`;
  await ask(path, body, args, io, "revoked");
}

/** `rks token capabilities [TOKEN] PATH`. @throws {RksError} as the vault answers. */
export async function tokenCapabilities(
  args: WhichToken & { readonly token: string; readonly path?: string | undefined },
  io: CliIo,
): Promise<void> {
  const { path, token, accessor } = args;
  if (accessor !== undefined && path !== undefined)
    throw misuse("both a token and an accessor are named", "Give one.");
  const asked = vaultPath(path ?? token);
  const { suffix, body } = await whichToken({ token: path === undefined ? undefined : token, accessor }, io);
  const { client, wrapTtl } = await findVault(args, io);
  const sent = { ...body, paths: [asked] };
  const reply = await client.ask({ method: "POST", path: `sys/capabilities${suffix}`, body: sent, wrapTtl });
  await printReply(reply, args, io, {
    subject: asked,
    done: "none",
    table: (data) => `${textsAt(data, "capabilities").toSorted().join(", ")}\n`,
  });
}

/** `rks token list`: accessors. @throws {RksError} as the vault answers. */
export async function listTokens(args: VaultArguments, io: CliIo): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "LIST", path: "auth/token/accessors", wrapTtl });
  await printReply(reply, args, io, {
    subject: "auth/token/accessors",
    done: "there are no tokens",
    table: (data) => keysTable(textsAt(data)),
  });
}

async function ask(
  path: string,
  body: Readonly<Record<string, string>>,
  args: VaultArguments,
  io: CliIo,
  done: string,
): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "POST", path, body, wrapTtl });
  await printReply(reply, args, io, { subject: path, done });
}

async function whichToken(args: Pick<WhichToken, "token" | "accessor">, io: CliIo): Promise<Named> {
  const { token, accessor } = args;
  if (accessor !== undefined) {
    if (token !== undefined) throw misuse("both a token and an accessor are named", "Give one.");
    return { suffix: "-accessor", body: { accessor } };
  }
  if (token === undefined) return { suffix: "-self", body: {} };
  return { suffix: "", body: { token: (await namedToken(token, io)).reveal() } };
}

function misuse(message: string, suggestion: string): RksError {
  return new RksError("USAGE_INVALID", message, { suggestion });
}
