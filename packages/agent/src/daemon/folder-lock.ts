import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RksError } from "@rk8s/protocol";
import {
  formatProcessIdentity,
  identifyProcess,
  isAlive,
  parseProcessIdentity,
} from "../runtime/process/process-identity.js";

/** Tries to take over what dead processes left; each can only fail when somebody else was faster. */
const MAX_TAKEOVERS = 5;

/**
 * Lock a data folder for this process, until disposed. A lock whose process has died, however, or was another one with
 * the same pid, does not count.
 * @throws {RksError} ALREADY_RUNNING with the pid of the process that holds it; STORAGE_UNWRITABLE.
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable> {
  const path = join(folder, "rkl.lock");
  const own = join(folder, `rkl.lock.${process.pid}`);
  const content = formatProcessIdentity(await identifyProcess(process.pid));
  try {
    await writeFile(own, content, { mode: 0o600 });
    for (let i = 0; i < MAX_TAKEOVERS; i++) {
      if (await linked(own, path)) return { [Symbol.asyncDispose]: async () => release(path, content) };
      await clearDead(path, own);
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
async function clearDead(path: string, own: string): Promise<void> {
  const holder = await readFile(path, "utf8").catch(() => "");
  const identity = parseProcessIdentity(holder);
  if (identity !== undefined && (await isAlive(identity))) {
    throw new RksError("ALREADY_RUNNING", `an agent with pid ${identity.pid} runs on the same data folder`, {
      suggestion: `Stop it first (\`kill ${identity.pid}\`), or give another --data-dir.`,
    });
  }
  // Take it away under another name; if somebody was faster, theirs is put back.
  const aside = `${own}.dead`;
  await rename(path, aside).catch(() => undefined);
  if ((await readFile(aside, "utf8").catch(() => holder)) !== holder) await linked(aside, path);
  await rm(aside, { force: true });
}

async function release(path: string, content: string): Promise<void> {
  if ((await readFile(path, "utf8").catch(() => "")) === content) await rm(path, { force: true });
}
