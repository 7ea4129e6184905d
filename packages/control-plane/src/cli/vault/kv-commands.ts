import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { VaultDocument, VaultReply } from "../../http/vault-client.js";
import { formatTable } from "../output.js";
import { assertVersioned, findSecret, type SecretArguments, versionNumbers } from "./kv-secret.js";
import { formatOf, keysTable, printAs, printReply } from "./reply-output.js";
import { cellOf, dataOf, objectAt, textsAt } from "./reply-rows.js";
import { readData, type RequestData } from "./request-data.js";
import { findVault } from "./vault-target.js";

type Writing = SecretArguments & { readonly data: readonly string[]; readonly cas?: string | undefined };
type Versions = SecretArguments & { readonly versions?: string | undefined };

/** `rks kv get PATH`; of a deleted version only what is known of it. @throws {RksError} NOT_FOUND, and as the vault answers. */
export async function getSecret(
  args: SecretArguments & { readonly version?: string | undefined },
  io: CliIo,
): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const secret = await findSecret(client, args);
  if (args.version !== undefined) assertVersioned(secret);
  const query = args.version === undefined ? {} : { version: args.version };
  const reply = await client.ask({ method: "GET", path: secret.pathOf("data"), query, wrapTtl });
  const { subject } = secret;
  if (!secret.isVersioned || reply.type !== "document" || args.field === undefined) {
    const table = secret.isVersioned ? secretTable : undefined;
    await printReply(reply, args, io, { subject, done: "empty", ...(table === undefined ? {} : { table }) });
    return;
  }
  const value = objectAt(dataOf(reply.document), "data")?.[args.field];
  if (value === undefined) throw noField(subject, args.field);
  const format = formatOf(args, io);
  if (format === "table") io.stdout(`${cellOf(value).replace(/\n$/, "")}\n`);
  else await printAs(format, value, io);
}

/** `rks kv put PATH name=value …`. @throws {RksError} INPUT_INVALID, also when `--cas` does not hold. */
export async function putSecret(args: Writing, io: CliIo): Promise<void> {
  await writeSecret("POST", args, io);
}

/** `rks kv patch PATH name=value …`. @throws {RksError} NOT_FOUND, INPUT_INVALID. */
export async function patchSecret(args: Writing, io: CliIo): Promise<void> {
  await writeSecret("PATCH", args, io);
}

/** `rks kv list PATH`. @throws {RksError} NOT_FOUND, and as the vault answers. */
export async function listSecrets(args: SecretArguments, io: CliIo): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const secret = await findSecret(client, args);
  const reply = await client.ask({ method: "LIST", path: secret.pathOf("metadata"), wrapTtl });
  await printReply(reply, args, io, {
    subject: secret.subject,
    done: "there are no secrets",
    table: (data) => keysTable(textsAt(data)),
  });
}

/** `rks kv delete PATH [--versions]`. @throws {RksError} as the vault answers. */
export async function deleteSecret(args: Versions, io: CliIo): Promise<void> {
  if (args.versions !== undefined) {
    await changeVersions("delete", args, io);
    return;
  }
  const { client, wrapTtl } = await findVault(args, io);
  const secret = await findSecret(client, args);
  const reply = await client.ask({ method: "DELETE", path: secret.pathOf("data"), wrapTtl });
  await printReply(reply, args, io, { subject: secret.subject, done: `deleted ${secret.subject}` });
}

/** `rks kv delete|undelete|destroy PATH --versions`. @throws {RksError} USAGE_INVALID, and as the vault answers. */
export async function changeVersions(
  change: "delete" | "undelete" | "destroy",
  args: Versions,
  io: CliIo,
): Promise<void> {
  const versions = versionNumbers(args.versions);
  const { client, wrapTtl } = await findVault(args, io);
  const secret = await findSecret(client, args);
  assertVersioned(secret);
  const reply = await client.ask({
    method: "POST",
    path: secret.pathOf(change),
    body: { versions },
    wrapTtl,
  });
  await printReply(reply, args, io, {
    subject: secret.subject,
    done: `${change}: version ${versions.join(", ")} of ${secret.subject}`,
  });
}

async function writeSecret(method: "POST" | "PATCH", args: Writing, io: CliIo): Promise<void> {
  const data = await readData(args.data, io);
  const { client, wrapTtl } = await findVault(args, io);
  const secret = await findSecret(client, args);
  if (method === "PATCH" || args.cas !== undefined) assertVersioned(secret);
  const body: RequestData = secret.isVersioned
    ? { data, ...(args.cas === undefined ? {} : { options: { cas: casOf(args.cas) } }) }
    : data;
  const reply: VaultReply = await client.ask({ method, path: secret.pathOf("data"), body, wrapTtl });
  await printReply(reply, args, io, { subject: secret.subject, done: `wrote ${secret.subject}` });
}

/** What is known of the version, then what it holds. */
function secretTable(data: VaultDocument): string {
  const metadata = Object.entries(objectAt(data, "metadata") ?? {});
  const held = Object.entries(objectAt(data, "data") ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const tables = [metadata, ...(held.length === 0 ? [] : [held])].map((rows) =>
    formatTable(["Key", "Value"], [["---", "-----"], ...rows.map(([name, value]) => [name, cellOf(value)])]),
  );
  return tables.join("\n");
}

function casOf(given: string): number {
  if (/^\d{1,9}$/.test(given)) return Number(given);
  throw new RksError("USAGE_INVALID", `--cas ${JSON.stringify(given.slice(0, 40))} is not a version`, {
    suggestion: "Give a number; 0 when there must be no secret yet.",
  });
}

function noField(subject: string, field: string): RksError {
  return new RksError(
    "NOT_FOUND",
    `"${subject.slice(0, 200)}" has no field ${JSON.stringify(field.slice(0, 80))}`,
    { suggestion: "See its fields with `rks kv get`." },
  );
}
