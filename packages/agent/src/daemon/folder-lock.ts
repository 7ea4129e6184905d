import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RksError } from "@rk8s/protocol";
import {
  formatProcessIdentity,
  identifyProcess,
  isAlive,
  parseProcessIdentity,
  type ProcessIdentity,
} from "../runtime/process/process-identity.js";

/** Tries to take over what dead processes left; each can only fail when somebody else was faster. */
const MAX_TAKEOVERS = 5;

export interface LockOptions {
  /**
   * The pid of the process that starts this one again when it dies. It holds the lock as well, so that nobody slips in
   * between; it is the one that others are told of.
   */
  readonly supervisorPid?: number | undefined;
}

/**
 * Lock a data folder for this process, until disposed. A lock whose processes have died, however, or were others with
 * the same pids, does not count; nor does one that an earlier process of the same supervisor has left.
 * @throws {RksError} ALREADY_RUNNING with the pid of the process that holds it; STORAGE_UNWRITABLE.
 */
export async function lockFolder(folder: string, options: LockOptions = {}): Promise<AsyncDisposable> {
  const { supervisorPid } = options;
  const path = join(folder, "rkl.lock");
  const own = join(folder, `rkl.lock.${process.pid}`);
  const holders = await Promise.all(
    [process.pid, ...(supervisorPid === undefined ? [] : [supervisorPid])].map((pid) => identifyProcess(pid)),
  );
  const content = holders.map((holder) => formatProcessIdentity(holder)).join("");
  try {
    await writeFile(own, content, { mode: 0o600 });
    for (let i = 0; i < MAX_TAKEOVERS; i++) {
      if (await linked(own, path)) return { [Symbol.asyncDispose]: async () => release(path, content) };
      await clearDead(path, own, supervisorPid);
    }
  } catch (cause) {
    if (cause instanceof RksError) throw cause;
    throw new RksError(
      "STORAGE_UNWRITABLE",
      `data folder "${folder}" cannot be written: ${(cause as Error).message}`,
      {
        cause,
        suggestion: "Give --data-dir a folder that this user may write to.",
      },
    );
  } finally {
    await rm(own, { force: true }).catch(() => undefined);
  }
  throw new RksError("ALREADY_RUNNING", `data folder "${folder}" is being taken by several agents at once`, {
    suggestion: "Try again.",
  });
}

/** Creating a hard link is atomic: it fails when the name is taken. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (reason) {
    if ((reason as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw reason;
  }
}

/** @throws {RksError} ALREADY_RUNNING. */
async function clearDead(path: string, own: string, supervisorPid: number | undefined): Promise<void> {
  const content = await readFile(path, "utf8").catch(() => "");
  const pid = await livingHolder(content, supervisorPid);
  if (pid !== undefined) {
    throw new RksError("ALREADY_RUNNING", `an agent with pid ${pid} runs on the same data folder`, {
      suggestion: `Stop it first (\`kill ${pid}\`), or give another --data-dir.`,
    });
  }
  // Take it away under another name; if somebody was faster, theirs is put back.
  const aside = `${own}.dead`;
  await rename(path, aside).catch(() => undefined);
  if ((await readFile(aside, "utf8").catch(() => content)) !== content) await linked(aside, path);
  await rm(aside, { force: true });
}

/** Who holds the lock: the supervisor, when there is one, else the process itself. Our own supervisor is nobody. */
async function livingHolder(content: string, ownSupervisor: number | undefined): Promise<number | undefined> {
  const worker = parseProcessIdentity(content);
  const supervisor = parseProcessIdentity(content.split("\n").slice(3).join("\n"));
  const isHeld = async (identity: ProcessIdentity | undefined): Promise<boolean> =>
    identity !== undefined && isAlive(identity);
  const holds = (await isHeld(worker)) || (supervisor?.pid !== ownSupervisor && (await isHeld(supervisor)));
  return holds ? (supervisor ?? worker)?.pid : undefined;
}

async function release(path: string, content: string): Promise<void> {
  if ((await readFile(path, "utf8").catch(() => "")) === content) await rm(path, { force: true });
}
