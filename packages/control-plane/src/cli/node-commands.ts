import { printable } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { createdTokenAnswer, type ListedNode, nodeAnswer, nodeListAnswer } from "./answers.js";
import type { ClusterArguments } from "./flags.js";
import { ask } from "./ask.js";
import { findCluster } from "./cluster-target.js";
import { printCreatedToken } from "./join-token-commands.js";
import { formatFields, formatTable, printHint, printJson } from "./output.js";

interface NamedNode extends ClusterArguments {
  readonly name: string;
}

/** `rks node list`. @throws {RksError} UNREACHABLE, VAULT_SEALED. */
export async function listNodes(args: ClusterArguments, io: CliIo): Promise<void> {
  const { data } = await ask(await findCluster(args, io), nodeListAnswer, "GET", "/v1/rk8s/nodes");
  if (args.json) {
    printJson(io, data.nodes);
    return;
  }
  const headings = [
    "NAME",
    "STATUS",
    "ADDRESS",
    "CERTIFICATE SERIAL",
    "CERTIFICATE EXPIRES",
    "LAST HEARTBEAT",
    "VERSION",
  ];
  io.stdout(printable(formatTable(headings, data.nodes.map(nodeRow))));
  if (data.nodes.length === 0)
    printHint(io, "no node has joined yet; make a token with `rks gen join-token`");
}

/** `rks node show NAME`. @throws {RksError} NOT_FOUND, UNREACHABLE, VAULT_SEALED. */
export async function showNode(args: NamedNode, io: CliIo): Promise<void> {
  const { data } = await ask(await findCluster(args, io), nodeAnswer, "GET", pathOf(args.name));
  if (args.json) {
    printJson(io, data);
    return;
  }
  const fields = Object.entries(data).map(([name, value]): [string, string] => [name, textOf(value)]);
  io.stdout(printable(formatFields(fields)));
}

/** `rks node rejoin NAME`. @throws {RksError} NOT_FOUND, UNREACHABLE, VAULT_SEALED. */
export async function rejoinNode(
  args: NamedNode & { readonly out?: string | undefined },
  io: CliIo,
): Promise<void> {
  const target = await findCluster(args, io);
  const { data } = await ask(target, createdTokenAnswer, "POST", `${pathOf(args.name)}/rejoin`);
  await printCreatedToken(data, { ...args, isOverHttps: target.isOverHttps }, io);
}

/** `rks node evict NAME`. @throws {RksError} NOT_FOUND, UNREACHABLE, VAULT_SEALED. */
export async function evictNode(args: NamedNode, io: CliIo): Promise<void> {
  const target = await findCluster(args, io);
  await target.client.request("POST", `${pathOf(args.name)}/evict`);
  if (args.json) printJson(io, { evicted: args.name });
  else io.stdout(`evicted ${printable(args.name)}\n`);
}

/** `rks node ban NAME`. @throws {RksError} NOT_FOUND, INPUT_INVALID, UNREACHABLE, VAULT_SEALED. */
export async function banNode(
  args: NamedNode & { readonly reason?: string | undefined },
  io: CliIo,
): Promise<void> {
  await post(args, "ban", io, args.reason === undefined ? {} : { reason: args.reason });
  if (args.json) printJson(io, { banned: args.name });
  else io.stdout(`banned ${printable(args.name)}\n`);
}

/** `rks node unban NAME`. @throws {RksError} NOT_FOUND, UNREACHABLE, VAULT_SEALED. */
export async function unbanNode(args: NamedNode, io: CliIo): Promise<void> {
  await post(args, "unban", io, {});
  if (args.json) printJson(io, { unbanned: args.name });
  else io.stdout(`unbanned ${printable(args.name)}\n`);
}

/** `rks node renew NAME`. @throws {RksError} NOT_FOUND, UNAVAILABLE, UNREACHABLE, VAULT_SEALED. */
export async function renewNode(
  args: NamedNode & { readonly reason?: string | undefined },
  io: CliIo,
): Promise<void> {
  await post(args, "renew", io, args.reason === undefined ? {} : { reason: args.reason });
  if (args.json) printJson(io, { renewalRequired: args.name });
  else io.stdout(`${printable(args.name)} renews its certificate\n`);
}

async function post(args: NamedNode, verb: string, io: CliIo, body: object): Promise<void> {
  const target = await findCluster(args, io);
  await target.client.request("POST", `${pathOf(args.name)}/${verb}`, body);
}

function pathOf(name: string): string {
  return `/v1/rk8s/nodes/${encodeURIComponent(name)}`;
}

function nodeRow(node: ListedNode): string[] {
  return [
    node.name,
    node.status,
    node.address,
    node.certificateSerial,
    node.certificateNotAfter,
    node.lastHeartbeat ?? "never",
    node.version,
  ];
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "-";
  return typeof value === "string" ? value : JSON.stringify(value);
}
