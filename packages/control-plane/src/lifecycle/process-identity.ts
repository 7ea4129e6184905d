import { readFile, readlink } from "node:fs/promises";

/** One run of one process: a number that is used again by another process makes another identity. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot, and the boot; empty where the system does not tell. */
  readonly started: string;
  /** Namespace in which `pid` counts; empty where the system does not tell. */
  readonly pidNamespace: string;
}

/** This process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return {
    pid: process.pid,
    started: (await startOf(process.pid)) ?? "",
    pidNamespace: await pidNamespace(),
  };
}

/**
 * Whether the process still runs; undefined when that cannot be told from here, because it counts its number in
 * another namespace (another container).
 */
export async function isRunning(identity: ProcessIdentity): Promise<boolean | undefined> {
  if (identity.pidNamespace !== (await pidNamespace())) return undefined;
  try {
    process.kill(identity.pid, 0);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return false;
  }
  const started = await startOf(identity.pid);
  return started === undefined || identity.started === "" || started === identity.started;
}

/** Field 22 of /proc/PID/stat (proc(5)), the name in field 2 may hold anything; a dead but unreaped process is gone. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    return fields[0] === "Z" || fields[0] === "X" ? "dead" : `${fields[19] ?? ""}@${boot.trim()}`;
  } catch {
    return undefined;
  }
}

async function pidNamespace(): Promise<string> {
  return readlink("/proc/self/ns/pid").catch(() => "");
}
