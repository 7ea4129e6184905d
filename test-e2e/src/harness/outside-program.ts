import { spawn } from "node:child_process";
import { once } from "node:events";
import type { CommandResult } from "./process.js";

/** Run a program that is not ours to its end, in an environment of its own with `PATH` and what is given. */
export async function runOutside(
  program: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
): Promise<CommandResult> {
  const { PATH = "", HOME = "/" } = process.env;
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH, HOME, LC_ALL: "C.UTF-8", ...options.env },
    cwd: options.cwd,
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (output.stdout += chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (output.stderr += chunk));
  const [status] = (await once(child, "close")) as [number | null];
  return { status, ...output };
}
