import { printable } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { VaultDocument, VaultReply } from "../../http/vault-client.js";
import { formatTable, printJson } from "../output.js";
import { cellOf, dataOf, rowsOf } from "./reply-rows.js";
import type { Format, VaultArguments } from "./vault-options.js";

/** What a command knows of its answer. */
export interface ReplyTexts {
  /** What was asked for, in the words of the caller: a path, a name. */
  readonly subject: string;
  /** What is said when the vault has done it and says nothing. */
  readonly done: string;
  /** Formats the data for people; default: `Key` and `Value`. */
  readonly table?: (data: VaultDocument) => string;
}

type Chosen = Pick<VaultArguments, "json" | "format" | "field">;

/**
 * Print an answer: for people, or as the document that the vault sent. Its warnings go to stderr.
 * @throws {RksError} NOT_FOUND when there is nothing there, or no such field in it.
 */
export async function printReply(
  reply: VaultReply,
  args: Chosen,
  io: CliIo,
  texts: ReplyTexts,
): Promise<void> {
  if (reply.type === "nothing") throw nothingAt(texts.subject);
  if (reply.type === "raw") printRaw(reply.contentType, reply.bytes, formatOf(args, io), io);
  else if (reply.type === "done") await printDone(args, io, texts);
  else await printDocument(reply.document, args, io, texts);
}

/** Print the data of an answer under names of our own: for commands that ask more than once. */
export async function printDocument(
  document: VaultDocument,
  args: Chosen,
  io: CliIo,
  texts: ReplyTexts,
): Promise<void> {
  printWarnings(document, io);
  const format = formatOf(args, io);
  const rows = rowsOf(document);
  if (args.field !== undefined) {
    const found = rows.find(([name]) => name === args.field);
    if (found === undefined)
      throw noField(
        args.field,
        texts.subject,
        rows.map(([name]) => name),
      );
    if (format === "table") io.stdout(`${cellOf(found[1]).replace(/\n$/, "")}\n`);
    else await printAs(format, found[1], io);
    return;
  }
  if (format !== "table") await printAs(format, document, io);
  else if (rows.length === 0) io.stdout(`${printable(texts.done)}\n`);
  else
    io.stdout(
      printable((isPlain(document) ? texts.table?.(dataOf(document)) : undefined) ?? keyValueTable(rows)),
    );
}

/** Say on stderr what the vault warns of, wherever in the answer that stands. */
function printWarnings(document: VaultDocument, io: CliIo): void {
  const warnings = document["warnings"];
  if (!Array.isArray(warnings)) return;
  for (const warning of warnings) io.stderr(`warning: ${printable(String(warning)).replaceAll("\n", " ")}\n`);
}

/** The format that the flags or the environment ask for. @throws {RksError} CONFIG_INVALID for an unknown VAULT_FORMAT. */
export function formatOf(args: Pick<VaultArguments, "json" | "format">, io: CliIo): Format {
  if (args.json) return "json";
  if (args.format !== undefined) return args.format;
  const given = io.env["VAULT_FORMAT"] ?? "";
  if (given === "" || given === "table" || given === "pretty") return "table";
  if (given === "json" || given === "yaml") return given;
  throw new RksError("CONFIG_INVALID", `VAULT_FORMAT ${JSON.stringify(given.slice(0, 40))} is not known`, {
    suggestion: "Set it to table, json or yaml.",
  });
}

/** Print a value in a format for programs. */
export async function printAs(format: "json" | "yaml", value: unknown, io: CliIo): Promise<void> {
  if (format === "json") {
    printJson(io, value);
    return;
  }
  const { stringify } = await import("yaml");
  io.stdout(stringify(value));
}

/** What people see of a list. */
export function keysTable(keys: readonly string[]): string {
  return formatTable(["Keys"], [["----"], ...keys.map((key) => [key])]);
}

/** The error for a path that has nothing. */
function nothingAt(subject: string): RksError {
  return new RksError("NOT_FOUND", `there is nothing at ${JSON.stringify(subject.slice(0, 200))}`, {
    suggestion: "List what there is with `rks list`, `rks secrets list` or `rks policy list`.",
  });
}

function keyValueTable(rows: readonly (readonly [string, unknown])[]): string {
  return formatTable(
    ["Key", "Value"],
    [["---", "-----"], ...rows.map(([name, value]) => [name, cellOf(value)])],
  );
}

/** Whether an answer is nothing but its data. */
function isPlain(document: VaultDocument): boolean {
  return (document["auth"] ?? null) === null && (document["wrap_info"] ?? null) === null;
}

async function printDone(args: Chosen, io: CliIo, texts: ReplyTexts): Promise<void> {
  if (args.field !== undefined) throw noField(args.field, texts.subject, []);
  const format = formatOf(args, io);
  if (format === "table") io.stdout(`${printable(texts.done)}\n`);
  else await printAs(format, {}, io);
}

/** Text as it is; bytes in base64. */
function printRaw(contentType: string, bytes: Buffer, format: Format, io: CliIo): void {
  const text = bytes.toString("utf8");
  const isText = Buffer.from(text, "utf8").equals(bytes) && !text.includes("\0");
  if (format === "json") {
    printJson(io, { contentType, ...(isText ? { text } : { base64: bytes.toString("base64") }) });
    return;
  }
  if (!isText) io.stderr(`the answer is ${contentType}, printed in base64\n`);
  io.stdout(isText ? `${text.replace(/\n$/, "")}\n` : `${bytes.toString("base64")}\n`);
}

function noField(field: string, subject: string, names: readonly string[]): RksError {
  const known = names.length === 0 ? "It has none." : `It has ${names.slice(0, 40).join(", ")}.`;
  return new RksError(
    "NOT_FOUND",
    `the answer of ${JSON.stringify(subject.slice(0, 200))} has no field ${JSON.stringify(field.slice(0, 80))}`,
    { suggestion: known },
  );
}
