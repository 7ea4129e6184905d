import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { parseDuration, RksError, Secret } from "@rk8s/protocol";
import { type VaultClient, vaultOverHttps, vaultOverSocket } from "../../http/vault-client.js";
import type { ServerTls } from "../../http/vault-server.js";
import { STDIN_WORD } from "../flags.js";
import { readSecretFile, readStdin } from "../secret-input.js";
import type { VaultArguments } from "./vault-options.js";

const MAX_TIMEOUT_SECONDS = 3600;
/** As `strconv.ParseBool` of the `vault` command reads them. */
const FALSE = new Set(["", "0", "f", "F", "false", "FALSE", "False"]);

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
  const address = variable(io, "VAULT_ADDR");
  const isOverHttps = address !== undefined && args.config === undefined && args.socket === undefined;
  const token = options.token ?? (await tokenOf(args, isOverHttps, io));
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
    timeoutMs: timeoutMs(io),
    startCommand: `rks start --config ${config}`,
  });
}

async function socketOfConfig(args: Chosen, io: CliIo): Promise<string> {
  const { findTarget } = await import("../target.js");
  return (await findTarget(args, io)).socket;
}

async function overHttps(address: string, token: Token, io: CliIo): Promise<VaultClient> {
  if (!FALSE.has(variable(io, "VAULT_SKIP_VERIFY") ?? "")) {
    throw new RksError("CONFIG_INVALID", "VAULT_SKIP_VERIFY is set, and a server is never asked unverified", {
      suggestion: "Unset it, and name the root's file in VAULT_CACERT.",
    });
  }
  const client = vaultOverHttps(address, await tlsOf(io), {
    token,
    namespace: variable(io, "VAULT_NAMESPACE"),
    timeoutMs: timeoutMs(io),
  });
  io.stderr(`asking ${address}\n`);
  return token === undefined ? withoutToken(client) : client;
}

/** Whoever sent no token is refused for that. */
function withoutToken(client: VaultClient): VaultClient {
  return {
    async ask(call) {
      try {
        return await client.ask(call);
      } catch (reason) {
        const error = RksError.from(reason);
        if (error.code !== "PERMISSION_DENIED") throw error;
        throw new RksError(error.code, `${error.message}: no token was sent`, {
          cause: error,
          suggestion: "Set VAULT_TOKEN, or name the token's file with --token-file.",
        });
      }
    },
  };
}

async function tlsOf(io: CliIo): Promise<ServerTls> {
  if (variable(io, "VAULT_CAPATH") !== undefined && variable(io, "VAULT_CACERT") === undefined) {
    throw new RksError("CONFIG_INVALID", "VAULT_CAPATH is set, and only one file of certificates is read", {
      suggestion: "Name a file in VAULT_CACERT.",
    });
  }
  return {
    ca: await pemOf("VAULT_CACERT", io),
    cert: await pemOf("VAULT_CLIENT_CERT", io),
    key: await pemOf("VAULT_CLIENT_KEY", io),
    serverName: variable(io, "VAULT_TLS_SERVER_NAME"),
  };
}

async function pemOf(name: string, io: CliIo): Promise<string | undefined> {
  const file = variable(io, name);
  if (file === undefined) return undefined;
  let content: string;
  try {
    content = await readFile(resolve(io.cwd, file), "utf8");
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", `cannot read the file of ${name}, "${file}"`, {
      cause,
      suggestion: "Name a readable PEM file.",
    });
  }
  if (content.includes("-----BEGIN ")) return content;
  throw new RksError("CONFIG_INVALID", `the file of ${name}, "${file}", is not PEM`, {
    suggestion: "Name a PEM file: root.pem in the vault folder of rks is the root's.",
  });
}

/** The environment's token is for its address: the socket is not sent it. */
async function tokenOf(args: Chosen, isOverHttps: boolean, io: CliIo): Promise<Token> {
  const file = args["token-file"];
  if (file !== undefined) return tokenOfFile(file, io);
  if (!isOverHttps) return undefined;
  const fromEnvironment = variable(io, "VAULT_TOKEN");
  return fromEnvironment === undefined ? undefined : new Secret(fromEnvironment);
}

async function tokenOfFile(file: string, io: CliIo): Promise<Secret<string>> {
  const content = (file === STDIN_WORD ? await readStdin(io) : await readSecretFile(file, io)).trim();
  if (/^[\x21-\x7e]{1,8192}$/.test(content)) return new Secret(content);
  throw new RksError("INPUT_INVALID", `there is no token in ${file === STDIN_WORD ? "stdin" : `"${file}"`}`, {
    suggestion: "Name a file that holds a token and nothing else.",
  });
}

/** Seconds, or a duration such as `30s`. */
function timeoutMs(io: CliIo): number | undefined {
  const given = variable(io, "VAULT_CLIENT_TIMEOUT");
  if (given === undefined) return undefined;
  const seconds = /^\d{1,6}$/.test(given) ? Number(given) : durationOf(given);
  if (seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS) return seconds * 1000;
  throw new RksError(
    "CONFIG_INVALID",
    `VAULT_CLIENT_TIMEOUT ${JSON.stringify(given.slice(0, 40))} is not between 1s and 1h`,
    {
      suggestion: "Write it like 60 or 60s.",
    },
  );
}

function durationOf(given: string): number {
  try {
    return parseDuration(given);
  } catch {
    return 0;
  }
}

function variable(io: CliIo, name: string): string | undefined {
  const value = io.env[name];
  return value === undefined || value === "" ? undefined : value;
}
