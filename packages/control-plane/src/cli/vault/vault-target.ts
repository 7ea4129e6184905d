import { resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import type { Secret } from "@rk8s/protocol";
import { type VaultClient, vaultOverHttps, vaultOverSocket } from "../../http/vault-client.js";
import {
  clientTimeoutMs,
  httpsAddress,
  httpsTarget,
  tokenToSend,
  variable,
  withoutToken,
} from "../https-target.js";
import type { VaultArguments } from "./vault-options.js";

/** The vault that a command asks. */
export interface VaultTarget {
  readonly client: VaultClient;
  /** What every answer is wrapped for, unless the command says otherwise. */
  readonly wrapTtl: string | undefined;
  /** Whether everything is allowed, because no token is sent to the socket. */
  readonly isRoot: boolean;
}

type Chosen = Pick<VaultArguments, "config" | "socket" | "token-file" | "wrap-ttl">;

/**
 * Find the vault: over HTTPS when VAULT_ADDR is set and neither `--config` nor `--socket` is given, else by the socket,
 * which needs no token. Says on stderr which one it is.
 * @throws {RksError} CONFIG_INVALID, and INPUT_INVALID for a file with a token that cannot be used.
 */
export async function findVault(
  args: Chosen,
  io: CliIo,
  options: { readonly token?: Secret<string> | "none" } = {},
): Promise<VaultTarget> {
  const wrapTtl = args["wrap-ttl"] ?? variable(io, "VAULT_WRAP_TTL");
  const address = httpsAddress(args, io);
  const isOverHttps = address !== undefined;
  const token = options.token ?? (await tokenToSend(args["token-file"], isOverHttps, io));
  const secret = token === "none" ? undefined : token;
  const client = isOverHttps ? await overHttps(address, secret, io) : await overSocket(args, secret, io);
  return { client, wrapTtl, isRoot: !isOverHttps && secret === undefined };
}

type Token = Secret<string> | undefined;

async function overSocket(args: Chosen, token: Token, io: CliIo): Promise<VaultClient> {
  const socket = args.socket === undefined ? await socketOfConfig(args, io) : resolve(io.cwd, args.socket);
  io.stderr(`asking ${socket}\n`);
  const config = args.socket === undefined ? (args.config ?? "config.yaml") : "FILE";
  return vaultOverSocket(socket, {
    token,
    timeoutMs: clientTimeoutMs(io),
    startCommand: `rks start --config ${config}`,
  });
}

async function socketOfConfig(args: Chosen, io: CliIo): Promise<string> {
  const { findTarget } = await import("../target.js");
  return (await findTarget(args, io)).socket;
}

async function overHttps(address: string, token: Token, io: CliIo): Promise<VaultClient> {
  const { tls, ...options } = await httpsTarget(io);
  const client = vaultOverHttps(address, tls, { token, ...options });
  io.stderr(`asking ${address}\n`);
  return token === undefined ? { ask: (call) => withoutToken(() => client.ask(call)) } : client;
}
