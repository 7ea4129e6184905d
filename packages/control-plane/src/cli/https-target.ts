import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { parseDuration, RksError, Secret } from "@rk8s/protocol";
import type { ServerTls } from "../http/vault-server.js";
import { STDIN_WORD, type TargetArguments } from "./flags.js";
import { readSecretFile, readStdin } from "./secret-input.js";

const MAX_TIMEOUT_SECONDS = 3600;
/** As `strconv.ParseBool` of the `vault` command reads them. */
const FALSE = new Set(["", "0", "f", "F", "false", "FALSE", "False"]);

/** How the server of VAULT_ADDR is asked. */
export interface HttpsTarget {
  readonly tls: ServerTls;
  readonly namespace: string | undefined;
  readonly timeoutMs: number | undefined;
}

/** The address to ask over HTTPS: that of VAULT_ADDR, when neither `--config` nor `--socket` names another rks. */
export function httpsAddress(
  { config, socket }: Pick<TargetArguments, "config" | "socket">,
  io: CliIo,
): string | undefined {
  return config === undefined && socket === undefined ? variable(io, "VAULT_ADDR") : undefined;
}

/** What the environment says of the server. @throws {RksError} CONFIG_INVALID. */
export async function httpsTarget(io: CliIo): Promise<HttpsTarget> {
  if (!FALSE.has(variable(io, "VAULT_SKIP_VERIFY") ?? "")) {
    throw new RksError("CONFIG_INVALID", "VAULT_SKIP_VERIFY is set, and a server is never asked unverified", {
      suggestion: "Unset it, and name the root's file in VAULT_CACERT.",
    });
  }
  return { tls: await tlsOf(io), namespace: variable(io, "VAULT_NAMESPACE"), timeoutMs: clientTimeoutMs(io) };
}

/**
 * The token to send: that of `--token-file`, else over HTTPS that of VAULT_TOKEN, which is for its address and not for
 * the socket.
 * @throws {RksError} INPUT_INVALID for a file without a token.
 */
export async function tokenToSend(
  file: string | undefined,
  isOverHttps: boolean,
  io: CliIo,
): Promise<Secret<string> | undefined> {
  if (file !== undefined) return tokenOfFile(file, io);
  const fromEnvironment = isOverHttps ? variable(io, "VAULT_TOKEN") : undefined;
  return fromEnvironment === undefined ? undefined : new Secret(fromEnvironment);
}

/** Ask without a token: whoever sent none is refused for that. @throws {RksError} as `work`. */
export async function withoutToken<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (reason) {
    const error = RksError.from(reason);
    if (error.code !== "PERMISSION_DENIED") throw error;
    throw new RksError(error.code, `${error.message}: no token was sent`, {
      cause: error,
      suggestion: "Set VAULT_TOKEN, or name the token's file with --token-file.",
    });
  }
}

/** How long an answer may take by VAULT_CLIENT_TIMEOUT: seconds, or a duration such as `30s`. @throws {RksError} CONFIG_INVALID. */
export function clientTimeoutMs(io: CliIo): number | undefined {
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

/** A variable of the environment; undefined when it is empty. */
export function variable(io: CliIo, name: string): string | undefined {
  const value = io.env[name];
  return value === undefined || value === "" ? undefined : value;
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

async function tokenOfFile(file: string, io: CliIo): Promise<Secret<string>> {
  const content = (file === STDIN_WORD ? await readStdin(io) : await readSecretFile(file, io)).trim();
  if (/^[\x21-\x7e]{1,8192}$/.test(content)) return new Secret(content);
  throw new RksError("INPUT_INVALID", `there is no token in ${file === STDIN_WORD ? "stdin" : `"${file}"`}`, {
    suggestion: "Name a file that holds a token and nothing else.",
  });
}

function durationOf(given: string): number {
  try {
    return parseDuration(given);
  } catch {
    return 0;
  }
}
