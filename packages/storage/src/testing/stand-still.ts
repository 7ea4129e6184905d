import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 1;
/** Stopped, and ended: a child of a stopped parent stays a zombie. */
const STILL = new Set(["T", "Z", "X"]);

/**
 * Stop a process (SIGSTOP), and resolve when all its threads stand still: each of them goes on until it has taken the signal, and may
 * answer a last request. Where there is no `/proc` nobody can tell; this resolves at once.
 */
export async function standStill(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  if (process.platform !== "linux") return;
  while (!(await standsStill(pid))) await sleep(POLL_MS);
}

async function standsStill(pid: number): Promise<boolean> {
  const folder = `/proc/${pid}/task`;
  const states = await Promise.all(
    (await readdir(folder)).map(async (thread) => stateOf(`${folder}/${thread}/stat`)),
  );
  return states.every((state) => STILL.has(state));
}

/** The letter after the name, which may have parentheses of its own. */
async function stateOf(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch(() => ") X");
  return text.charAt(text.lastIndexOf(")") + 2);
}
