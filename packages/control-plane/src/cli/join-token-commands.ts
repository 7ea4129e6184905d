import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { parseDuration, RksError } from "@rk8s/protocol";
import { fileError, writeDurably } from "../lifecycle/durable-file.js";
import { OPERATOR_POLICY } from "../join/join-token-record.js";
import {
  createdTokenAnswer,
  type CreatedToken,
  type ListedToken,
  listedTokenAnswer,
  tokenListAnswer,
} from "./answers.js";
import type { ClusterArguments } from "./flags.js";
import { ask } from "./ask.js";
import { findCluster } from "./cluster-target.js";
import { formatTable, printHint, printJson } from "./output.js";

const MAX_TTL = "24h";

export interface GenJoinTokenArguments extends ClusterArguments {
  readonly ttl?: string | undefined;
  readonly uses?: string | undefined;
  readonly node?: string | undefined;
  readonly cidr?: string | undefined;
  readonly role: "node" | "operator";
  readonly policy?: string | undefined;
  readonly recoveries?: string | undefined;
  readonly recoveryWindow?: string | undefined;
  readonly out?: string | undefined;
}

/** `rks gen join-token`. @throws {RksError} USAGE_INVALID, INPUT_INVALID, NODE_NAME_INVALID, UNREACHABLE, VAULT_SEALED. */
export async function genJoinToken(args: GenJoinTokenArguments, io: CliIo): Promise<void> {
  const body = {
    role: args.role,
    ...(args.ttl === undefined ? {} : { ttlSeconds: parseTtl(args.ttl) }),
    ...(args.uses === undefined ? {} : { uses: parseUses(args.uses) }),
    ...(args.recoveries === undefined ? {} : { recoveries: parseRecoveries(args.recoveries) }),
    ...(args.recoveryWindow === undefined ? {} : { recoveryWindowSeconds: parseWindow(args.recoveryWindow) }),
    ...(args.node === undefined ? {} : { node: args.node }),
    ...(args.cidr === undefined ? {} : { cidr: args.cidr }),
    ...(args.policy === undefined ? {} : { policies: args.policy.split(",") }),
  };
  const target = await findCluster(args, io);
  const { data } = await ask(target, createdTokenAnswer, "POST", "/v1/rk8s/join-tokens", body);
  await printCreatedToken(data, { ...args, isOverHttps: target.isOverHttps }, io);
}

/** Print a new token, and on stderr how it is used. @throws {RksError} STORAGE_UNWRITABLE for `--out`. */
export async function printCreatedToken(
  created: CreatedToken,
  args: { readonly json: boolean; readonly out?: string | undefined; readonly isOverHttps: boolean },
  io: CliIo,
): Promise<void> {
  const { address, policies, rootCertificates: _pem, ...document } = created;
  // Where it is on the host of rks is of no use on another.
  const rootCertPath = args.isOverHttps ? null : created.rootCertPath;
  const files =
    args.out === undefined ? undefined : await writeTokenFiles(created, resolve(io.cwd, args.out));
  if (args.json)
    printJson(io, {
      ...document,
      // A node has none.
      ...(policies.length === 0 ? {} : { policies }),
      rootCertPath: files?.rootCertPath ?? rootCertPath,
    });
  else if (files === undefined) io.stdout(`${created.token}\n`);
  else io.stdout(`${files.tokenPath}\n`);
  const nodes = `${created.uses ?? "any number of"} node(s)`;
  const who = created.role === "operator" ? `operators${limits(created.policies)}` : nodes;
  io.stderr(`token ${created.id} lets in ${who} until ${created.expiresAt}\n`);
  for (const hint of hintsFor({ ...created, rootCertPath }, address, files)) printHint(io, hint);
}

/** What operators may, unless it is what they usually may. */
function limits(policies: readonly string[]): string {
  return policies.join() === OPERATOR_POLICY ? "" : ` with the policy ${policies.join(", ")}`;
}

interface TokenFiles {
  readonly tokenPath: string;
  readonly rootCertPath: string;
}

async function writeTokenFiles(created: CreatedToken, folder: string): Promise<TokenFiles> {
  const files = { tokenPath: join(folder, "join.token"), rootCertPath: join(folder, "root.pem") };
  const { rootCertificates } = created;
  if (rootCertificates === null) {
    throw new RksError(
      "STORAGE_UNWRITABLE",
      `rks has no readable "${created.rootCertPath}" to copy to "${folder}"`,
      {
        suggestion: `Start rks anew, which writes it, and revoke the token: \`rks join-token revoke ${created.id}\`.`,
      },
    );
  }
  try {
    await mkdir(folder, { recursive: true });
    await writeDurably(files.rootCertPath, rootCertificates, { mode: 0o644 });
  } catch (cause) {
    throw fileError(`write to "${folder}"`, cause);
  }
  await writeDurably(files.tokenPath, `${created.token}\n`, { mode: 0o600 });
  return files;
}

function hintsFor(
  created: Pick<CreatedToken, "role" | "node"> & { readonly rootCertPath: string | null },
  address: string,
  files: TokenFiles | undefined,
): string[] {
  const rootCertPath = shellWord(files?.rootCertPath ?? "root.pem");
  const tokenFile = shellWord(files?.tokenPath ?? "join.token");
  const connection = `--rks-address ${address} --enable-tls --root-cert-path ${rootCertPath} --join-token-file ${tokenFile}`;
  const command =
    created.role === "operator"
      ? `rkl get nodes ${connection}`
      : `rkl pod daemon ${created.node === null ? "" : `--node-name ${created.node} `}${connection}`;
  const rootFile =
    created.rootCertPath ?? "root.pem of the vault folder of rks, which --out DIR writes as well,";
  const prepare =
    files === undefined
      ? `save the token as join.token (mode 0600) and ${rootFile} as root.pem on the other host, then run there:`
      : "copy both files to the other host, then run there:";
  return [`${prepare} ${command}`];
}

/** A word as a POSIX shell takes it, quoted where it must be. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** `rks join-token list`. @throws {RksError} UNREACHABLE, VAULT_SEALED. */
export async function listJoinTokens(args: ClusterArguments, io: CliIo): Promise<void> {
  const { data } = await ask(await findCluster(args, io), tokenListAnswer, "GET", "/v1/rk8s/join-tokens");
  if (args.json) {
    printJson(io, data.joinTokens);
    return;
  }
  const headings = ["ID", "ROLE", "STATUS", "USES", "NODE", "CIDR", "EXPIRES", "USED BY"];
  io.stdout(formatTable(headings, data.joinTokens.map(tokenRow)));
}

/** `rks join-token revoke ID`. @throws {RksError} NOT_FOUND, UNREACHABLE, VAULT_SEALED. */
export async function revokeJoinToken(
  args: ClusterArguments & { readonly id: string },
  io: CliIo,
): Promise<void> {
  const path = `/v1/rk8s/join-tokens/${encodeURIComponent(args.id)}`;
  const { data } = await ask(await findCluster(args, io), listedTokenAnswer, "DELETE", path);
  if (args.json) printJson(io, data);
  else io.stdout(`revoked ${data.id}\n`);
}

function tokenRow(token: ListedToken): string[] {
  const last = token.usedBy.at(-1);
  return [
    token.id,
    token.rejoin ? `${token.role} (rejoin)` : token.role,
    token.status,
    token.uses === null ? `${token.usedCount}` : `${token.usedCount}/${token.uses}`,
    token.node ?? "-",
    token.cidr ?? "-",
    token.expiresAt,
    last === undefined ? "-" : `${last.node} at ${last.at}`,
  ];
}

function parseTtl(text: string): number {
  return parseBounded("--ttl", text, { min: "1s", max: MAX_TTL, example: "10m" });
}

function parseWindow(text: string): number {
  return parseBounded("--recovery-window", text, { min: "1m", max: "30d", example: "24h" });
}

function parseBounded(
  flag: string,
  text: string,
  { min, max, example }: { readonly min: string; readonly max: string; readonly example: string },
): number {
  const suggestion = `Give a time from ${min} to ${max}, such as ${flag} ${example}.`;
  let seconds: number;
  try {
    seconds = parseDuration(text);
  } catch (cause) {
    throw new RksError("USAGE_INVALID", `${flag}: ${RksError.from(cause).message}`, { cause, suggestion });
  }
  if (seconds < parseDuration(min) || seconds > parseDuration(max)) {
    throw new RksError("USAGE_INVALID", `${flag}: "${text}" is not between ${min} and ${max}`, {
      suggestion,
    });
  }
  return seconds;
}

function parseRecoveries(text: string): number {
  if (!/^\d{1,3}$/.test(text)) {
    throw new RksError("USAGE_INVALID", `--recoveries: "${text.slice(0, 40)}" is not a whole number from 0`, {
      suggestion: "Give how often a node may come back by itself in a window, such as --recoveries 3.",
    });
  }
  return Number(text);
}

function parseUses(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw new RksError("USAGE_INVALID", `--uses: "${text.slice(0, 40)}" is not a whole number from 1`, {
      suggestion: "Give the number of nodes that may join with the token.",
    });
  }
  return Number(text);
}
