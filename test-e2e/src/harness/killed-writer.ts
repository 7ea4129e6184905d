import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ROOT } from "./process.js";

/**
 * Run a program, the text of an ES module that may import what these tests may, and `kill -9` it when it has written so many
 * lines. Gives all lines that it wrote.
 */
export async function linesUntilKilled(
  program: string,
  args: readonly string[],
  count: number,
): Promise<string[]> {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program, ...args], {
    cwd: join(ROOT, "test-e2e"),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (lines.length === count) child.kill("SIGKILL");
  }
  await closed;
  return lines;
}
