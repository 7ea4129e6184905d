import type { CliIo } from "@rk8s/host/cli-io";
import type { VaultDocument } from "../../http/vault-client.js";
import { formatTable } from "../output.js";
import { printReply } from "./reply-output.js";
import { cellOf, objectAt } from "./reply-rows.js";
import { readPairs } from "./request-data.js";
import { vaultPath } from "./value-commands.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

interface AuditEnableArguments extends VaultArguments {
  readonly type: string;
  readonly options: readonly string[];
  readonly path?: string | undefined;
  readonly description?: string | undefined;
  readonly local: boolean;
}

/** `rks audit enable TYPE name=value …`. @throws {RksError} INPUT_INVALID, AUDIT_UNWRITABLE. */
export async function enableAudit(args: AuditEnableArguments, io: CliIo): Promise<void> {
  const at = deviceName(args.path ?? args.type);
  const body = {
    type: args.type,
    ...(args.description === undefined ? {} : { description: args.description }),
    options: readPairs("option", args.options),
    local: args.local,
  };
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "POST", path: `sys/audit/${at}`, body, wrapTtl });
  await printReply(reply, args, io, { subject: at, done: `enabled audit device ${at}/` });
}

/** `rks audit disable PATH`. @throws {RksError} as the vault answers. */
export async function disableAudit(
  args: VaultArguments & { readonly path: string },
  io: CliIo,
): Promise<void> {
  const at = deviceName(args.path);
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "DELETE", path: `sys/audit/${at}`, wrapTtl });
  await printReply(reply, args, io, { subject: at, done: `disabled audit device ${at}/` });
}

/** `rks audit list`. @throws {RksError} as the vault answers. */
export async function listAudit(
  args: VaultArguments & { readonly detailed: boolean },
  io: CliIo,
): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "GET", path: "sys/audit", wrapTtl });
  // An empty list is an answer here: nothing is written.
  const known = reply.type === "nothing" ? ({ type: "done" } as const) : reply;
  await printReply(known, args, io, {
    subject: "sys/audit",
    done: "there are no audit devices",
    table: (data) => deviceTable(data, args.detailed),
  });
}

function deviceTable(data: VaultDocument, isDetailed: boolean): string {
  const shown = ["Path", "Type", "Description", ...(isDetailed ? ["Options"] : [])];
  const rows = Object.keys(data)
    .toSorted()
    .map((path) => {
      const device = objectAt(data, path) ?? {};
      const cells = [path, cellOf(device["type"]), cellOf(device["description"]), cellOf(device["options"])];
      return cells.slice(0, shown.length);
    });
  return formatTable(shown, [shown.map((heading) => heading.replaceAll(/./g, "-")), ...rows]);
}

function deviceName(path: string): string {
  return vaultPath(path).replace(/\/+$/, "");
}
