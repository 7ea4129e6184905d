import { readFile } from "node:fs/promises";
import type { Daemon } from "./process.js";

/** The pid of the process that is the agent, below the supervisor; undefined between two of them. Linux only. */
export async function workerPid({ pid }: Pick<Daemon, "pid">): Promise<number | undefined> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return Number(children.trim().split(" ")[0]) || undefined;
}
