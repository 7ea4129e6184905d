import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { parsePolicy } from "../../vault/policy/policy-parser.js";
import { STDIN_WORD } from "../flags.js";
import { readSecretFile, readStdin } from "../secret-input.js";

const INDENT = "  ";
/** A line that assigns something simple, and what stands around the sign. */
const ASSIGNMENT = /^([\w-]+)\s*=\s*(\S.*)$/;
const HEREDOC = /<<-?([A-Za-z_]\w*)\s*$/;

/**
 * `rks policy fmt FILE`: indent a policy in place, with spaces around `=`, and leave words and comments as they are.
 * @throws {RksError} INPUT_INVALID with the line of what is no policy; with `--check` also when it is not laid out so.
 */
export async function formatPolicyFile(
  args: { readonly file: string; readonly check: boolean },
  io: CliIo,
): Promise<void> {
  const isStdin = args.file === STDIN_WORD;
  const before = isStdin ? await readStdin(io, 262_144) : await readSecretFile(args.file, io, 262_144);
  const after = formatPolicy(before);
  if (args.check && after !== before) {
    throw new RksError(
      "INPUT_INVALID",
      `the policy in ${isStdin ? "stdin" : `"${args.file}"`} is not laid out`,
      {
        suggestion: "Run `rks policy fmt` without --check.",
      },
    );
  }
  if (args.check) return;
  if (isStdin) {
    io.stdout(after);
    return;
  }
  if (after !== before) await rewrite(resolve(io.cwd, args.file), after);
  io.stdout(`${args.file}\n`);
}

/** Lay out a policy. What it allows stays the same. @throws {RksError} INPUT_INVALID with the line. */
export function formatPolicy(text: string): string {
  const meaning = parsePolicy(text);
  const formatted = layOut(text.split("\n"));
  if (isDeepStrictEqual(parsePolicy(formatted), meaning)) return formatted;
  throw new RksError("INPUT_INVALID", "the policy cannot be laid out without changing it", {
    suggestion: "Leave it as it is.",
  });
}

function layOut(lines: readonly string[]): string {
  const done: string[] = [];
  let depth = 0;
  let heredoc: string | undefined;
  for (const line of lines) {
    if (heredoc !== undefined) {
      done.push(line);
      if (line.trim() === heredoc) heredoc = undefined;
      continue;
    }
    const text = line.trim();
    if (text === "" && (done.length === 0 || done.at(-1) === "")) continue;
    const { opened, closedFirst, code } = bracketsOf(text);
    const indent = INDENT.repeat(Math.max(0, depth - closedFirst));
    done.push(text === "" ? "" : indent + text.replace(ASSIGNMENT, "$1 = $2"));
    depth = Math.max(0, depth + opened);
    heredoc = HEREDOC.exec(code)?.[1];
  }
  return `${done.join("\n").trimEnd()}\n`;
}

/** How a line changes the depth; brackets in texts and comments are none. */
function bracketsOf(text: string): {
  readonly opened: number;
  readonly closedFirst: number;
  readonly code: string;
} {
  const code = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""').replace(/(?:#|\/\/).*$/, "");
  let opened = 0;
  for (const mark of code) {
    if (mark === "{" || mark === "[") opened += 1;
    if (mark === "}" || mark === "]") opened -= 1;
  }
  return { opened, closedFirst: /^[}\]]+/.exec(code)?.[0].length ?? 0, code };
}

async function rewrite(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (cause) {
    throw new RksError("STORAGE_UNWRITABLE", `cannot write "${path}"`, {
      cause,
      suggestion: "Name a file that this user may write.",
    });
  }
}
