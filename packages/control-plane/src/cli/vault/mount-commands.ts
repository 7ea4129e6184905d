import { formatDuration } from "@rk8s/protocol";
import type { CliIo } from "@rk8s/host/cli-io";
import type { VaultDocument } from "../../http/vault-client.js";
import { formatTable, printHint } from "../output.js";
import type { TuningArguments } from "./mount-arguments.js";
import { printReply } from "./reply-output.js";
import { cellOf, objectAt, type Row } from "./reply-rows.js";
import { readPairs } from "./request-data.js";
import { vaultPath } from "./value-commands.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

/** What is mounted. */
export type MountKind = "secrets" | "auth";

type Path = VaultArguments & { readonly path: string };
type Enable = VaultArguments &
  TuningArguments & {
    readonly type: string;
    readonly path?: string | undefined;
    readonly local: boolean;
    readonly "seal-wrap": boolean;
  };

/** `rks secrets enable TYPE`, `rks auth enable TYPE`. @throws {RksError} INPUT_INVALID, ALREADY_EXISTS. */
export async function enableMount(kind: MountKind, args: Enable, io: CliIo): Promise<void> {
  const at = slashless(args.path ?? args.type);
  const { description, options, ...config } = tuningOf(args);
  const body = {
    type: args.type,
    ...(description === undefined ? {} : { description }),
    ...(options === undefined ? {} : { options }),
    config,
    local: args.local,
    seal_wrap: args["seal-wrap"],
  };
  const path = `${folderOf(kind)}/${at}`;
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "POST", path, body, wrapTtl });
  await printReply(reply, args, io, { subject: path, done: `mounted ${args.type} at ${shownAt(kind, at)}` });
}

/** `rks secrets disable PATH`, `rks auth disable PATH`. @throws {RksError} as the vault answers. */
export async function disableMount(kind: MountKind, args: Path, io: CliIo): Promise<void> {
  const at = slashless(args.path);
  const path = `${folderOf(kind)}/${at}`;
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "DELETE", path, wrapTtl });
  await printReply(reply, args, io, { subject: path, done: `unmounted ${shownAt(kind, at)}` });
}

/** `rks secrets list`, `rks auth list`. @throws {RksError} as the vault answers. */
export async function listMounts(
  kind: MountKind,
  args: VaultArguments & { readonly detailed: boolean },
  io: CliIo,
): Promise<void> {
  const path = folderOf(kind);
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "GET", path, wrapTtl });
  await printReply(reply, args, io, {
    subject: path,
    done: "nothing is mounted",
    table: (data) => mountTable(data, args.detailed),
  });
}

/** `rks secrets tune PATH`, `rks auth tune PATH`. @throws {RksError} INPUT_INVALID, NOT_FOUND. */
export async function tuneMount(kind: MountKind, args: Path & TuningArguments, io: CliIo): Promise<void> {
  const at = slashless(args.path);
  const path = `${folderOf(kind)}/${at}/tune`;
  const body = tuningOf(args);
  const isQuestion = Object.keys(body).length === 0;
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask(
    isQuestion ? { method: "GET", path, wrapTtl } : { method: "POST", path, body, wrapTtl },
  );
  await printReply(reply, args, io, { subject: path, done: `tuned ${shownAt(kind, at)}` });
}

/** `rks secrets move`, `rks auth move`. @throws {RksError} INPUT_INVALID, NOT_FOUND, ALREADY_EXISTS. */
export async function moveMount(
  kind: MountKind,
  args: VaultArguments & { readonly source: string; readonly destination: string },
  io: CliIo,
): Promise<void> {
  const [from, to] = [args.source, args.destination].map((path) => shownAt(kind, slashless(path))) as [
    string,
    string,
  ];
  const { client, wrapTtl } = await findVault(args, io);
  const reply = await client.ask({ method: "POST", path: "sys/remount", body: { from, to }, wrapTtl });
  await printReply(reply, args, io, {
    subject: from,
    done: `moved ${from} to ${to}`,
    table: () => `moved ${from} to ${to}\n`,
  });
  printHint(io, `policies that name ${from} still do`);
}

function mountTable(data: VaultDocument, isDetailed: boolean): string {
  const mounts = Object.keys(data)
    .toSorted()
    .flatMap((path): Row[] => {
      const mount = objectAt(data, path);
      return mount === undefined ? [] : [[path, mount]];
    });
  const headings = ["Path", "Type", "Accessor", "Description"];
  const more = ["Default TTL", "Max TTL", "Options", "UUID"];
  const shown = isDetailed ? [...headings, ...more] : headings;
  const rows = mounts.map(([path, mount]) => mountRow(path, mount as VaultDocument).slice(0, shown.length));
  return formatTable(shown, [shown.map((heading) => heading.replaceAll(/./g, "-")), ...rows]);
}

function mountRow(path: string, mount: VaultDocument): string[] {
  const config = objectAt(mount, "config") ?? {};
  const named = [mount["type"], mount["accessor"], mount["description"]].map(cellOf);
  const ttls = [config["default_lease_ttl"], config["max_lease_ttl"]].map(lifetimeOf);
  return [path, ...named, ...ttls, cellOf(mount["options"]), cellOf(mount["uuid"])];
}

/** 0 stands for the system's own. */
function lifetimeOf(seconds: unknown): string {
  if (typeof seconds !== "number") return cellOf(seconds);
  return seconds === 0 ? "system" : formatDuration(seconds);
}

/** The flags that were given, as fields of `tune` and of `config`. */
function tuningOf(args: TuningArguments): Record<string, unknown> {
  const { options, version } = args;
  const merged = {
    ...(options === undefined ? {} : readPairs("--options", options)),
    ...(version === undefined ? {} : { version }),
  };
  const given = {
    description: args.description,
    default_lease_ttl: args["default-lease-ttl"],
    max_lease_ttl: args["max-lease-ttl"],
    force_no_cache: args["force-no-cache"],
    listing_visibility: args["listing-visibility"],
    token_type: args["token-type"],
    audit_non_hmac_request_keys: args["audit-non-hmac-request-keys"],
    audit_non_hmac_response_keys: args["audit-non-hmac-response-keys"],
    passthrough_request_headers: args["passthrough-request-headers"],
    allowed_response_headers: args["allowed-response-headers"],
    options: Object.keys(merged).length === 0 ? undefined : merged,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function folderOf(kind: MountKind): string {
  return kind === "auth" ? "sys/auth" : "sys/mounts";
}

/** A mount's path as the whole vault has it. */
function shownAt(kind: MountKind, at: string): string {
  return `${kind === "auth" ? "auth/" : ""}${at}/`;
}

function slashless(path: string): string {
  return vaultPath(path).replace(/\/+$/, "");
}
