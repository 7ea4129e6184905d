import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

/** Field 22 of /proc/PID/stat, counted from the first field after the command's closing parenthesis. */
const START_TIME_FIELD = 19;

/** A process that is told apart from a later one with the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot where there is /proc, else what `ps -o lstart=` says. */
  readonly start: string;
  /** Linux's boot id; empty elsewhere. */
  readonly boot: string;
}

/** Read what the wrapper wrote into `pid`; undefined when it is not whole. */
export function parseProcessIdentity(text: string): ProcessIdentity | undefined {
  const [pid, start, boot, rest] = text.split("\n");
  if (rest === undefined || !/^[1-9]\d{0,9}$/.test(pid ?? "") || start === undefined || boot === undefined)
    return undefined;
  return { pid: Number(pid), start: startTimeOf(start), boot };
}

/** How `parseProcessIdentity` reads it. */
export function formatProcessIdentity({ pid, start, boot }: ProcessIdentity): string {
  return `${pid}\n${start}\n${boot}\n`;
}

/** The identity of a process that runs now. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity> {
  if (process.platform !== "linux") return { pid, start: await startTimeByPs(pid), boot: "" };
  return { pid, start: startTimeOf(await readFile(`/proc/${pid}/stat`, "utf8")), boot: await bootId() };
}

/** Whether that very process still runs. A zombie, and another process with the same pid, does not count. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  if (process.platform !== "linux") return (await startTimeByPs(identity.pid)) === identity.start;
  if (identity.boot !== (await bootId())) return false;
  const stat = await readFile(`/proc/${identity.pid}/stat`, "utf8").catch(() => "");
  return startTimeOf(stat) === identity.start && !/\) [ZX] /.test(stat);
}

/** Send a signal to the process group that the process leads; nothing happens when there is none. */
export function signalGroup(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  try {
    process.kill(-identity.pid, signal);
  } catch (reason) {
    if ((reason as NodeJS.ErrnoException).code !== "ESRCH") throw reason;
  }
}

function startTimeOf(line: string): string {
  const end = line.lastIndexOf(") ");
  return end === -1 ? line.trim() : (line.slice(end + 2).split(" ")[START_TIME_FIELD] ?? "");
}

async function bootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
}

async function startTimeByPs(pid: number): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)], {
      env: { LC_ALL: "C", PATH: "/bin:/usr/bin" },
    });
    return stdout.trim();
  } catch {
    return "";
  }
}
