import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { STDIN_WORD } from "../flags.js";
import { printHint } from "../output.js";
import { readSecretFile, readStdin } from "../secret-input.js";

/** What a vault takes as a request's body. */
const MAX_DATA_BYTES = 33_554_432;
/** Names of fields whose values nobody else should see, and values that are none of these. */
const SECRET_NAME = /(^|_)(pass(word|phrase|code)?|secret(_id)?|token|jwt|key|pem_bundle|credentials?|otp)$/i;
const PLAIN_VALUE = /^(|-|true|false|\d{1,9}[smhd]?)$/;

/** The fields of a request: texts as they were given, or what a JSON document holds. */
export type RequestData = Record<string, unknown>;

/**
 * Read the words after a path: `name=value`, `name=@FILE`, `name=-` (stdin), and `@FILE` or `-` for a whole JSON object.
 * `name=\@…` is a text that begins with `@`. A name given more than once becomes a list.
 * @throws {RksError} USAGE_INVALID for another word, INPUT_INVALID for what cannot be read or is no JSON object.
 */
export async function readData(words: readonly string[], io: CliIo): Promise<RequestData> {
  const data: RequestData = {};
  let stdin: string | undefined;
  const fromStdin = async (): Promise<string> => {
    if (stdin !== undefined) throw misuse("stdin is asked for twice", "Take - once.");
    stdin = await readStdin(io, MAX_DATA_BYTES);
    return stdin;
  };
  const shown: string[] = [];
  for (const word of words) {
    if (word === STDIN_WORD) Object.assign(data, objectOf(await fromStdin(), "stdin"));
    else if (word.startsWith("@")) Object.assign(data, objectOf(await fileOf(word.slice(1), io), word));
    else {
      const [name, value] = pairOf(word);
      const isFile = value.startsWith("@");
      if (!isFile && SECRET_NAME.test(name) && !PLAIN_VALUE.test(value)) shown.push(name);
      if (value === "-") append(data, name, await fromStdin());
      else if (isFile) append(data, name, await fileOf(value.slice(1), io));
      else append(data, name, value.startsWith("\\@") ? value.slice(1) : value);
    }
  }
  if (shown.length > 0) {
    printHint(io, `other users can see command lines: better ${shown[0]}=@FILE, or ${shown[0]}=- (stdin)`);
  }
  return data;
}

/** The fields of a question, which travel in its URL and so are texts. @throws {RksError} as `readData`. */
export async function readQuery(
  words: readonly string[],
  io: CliIo,
): Promise<Record<string, string | readonly string[]>> {
  const data = await readData(words, io);
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map(textOf) : textOf(value),
    ]),
  );
}

/** Texts of the form `name=value`, as of `--metadata`. @throws {RksError} USAGE_INVALID for another one. */
export function readPairs(flag: string, given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf("=");
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
      throw misuse(
        `${flag} ${JSON.stringify(pair.slice(0, 40))} is not name=value`,
        `Give ${flag} name=value.`,
      );
    }),
  );
}

function pairOf(word: string): [name: string, value: string] {
  const at = word.indexOf("=");
  if (at > 0) return [word.slice(0, at), word.slice(at + 1)];
  throw misuse(
    `${JSON.stringify(word.slice(0, 40))} is not name=value`,
    "Give fields as name=value, name=@FILE, name=-, or all of them as @FILE.json or - (stdin).",
  );
}

function append(data: RequestData, name: string, value: string): void {
  const before = Object.hasOwn(data, name) ? data[name] : undefined;
  const next =
    before === undefined
      ? value
      : Array.isArray(before)
        ? [...(before as unknown[]), value]
        : [before, value];
  // Also for a name that an object has of its own, such as __proto__.
  Object.defineProperty(data, name, { value: next, enumerable: true, configurable: true, writable: true });
}

async function fileOf(file: string, io: CliIo): Promise<string> {
  if (file === "") throw misuse("no file is named after @", "Give name=@FILE, or @FILE.json.");
  return readSecretFile(file, io, MAX_DATA_BYTES);
}

function objectOf(text: string, source: string): RequestData {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser's own error would repeat what it read.
    document = undefined;
  }
  if (typeof document === "object" && document !== null && !Array.isArray(document))
    return document as RequestData;
  throw new RksError("INPUT_INVALID", `${source} is not one JSON object`, {
    suggestion: 'Write {"name": value, …}, or give name=@FILE for the value of one field.',
  });
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function misuse(message: string, suggestion: string): RksError {
  return new RksError("USAGE_INVALID", message, { suggestion });
}
