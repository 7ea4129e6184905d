import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import { createDurably, fileError, makeFolder } from "./durable-file.js";
import { isRunning, ownIdentity, type ProcessIdentity } from "./process-identity.js";

const holder = z.object({ pid: z.int().min(1), started: z.string(), pidNamespace: z.string() });

/** A few processes that start at the same instant take turns; more attempts than that mean something is broken. */
const MAX_ATTEMPTS = 32;

export interface FolderLockOptions {
  /** Asked when a holder lives in another container, where its process cannot be looked up: does it answer? */
  readonly answers: () => Promise<boolean>;
}

/**
 * Make this process the only one that works on a folder, until disposed or dead: a holder that was killed does not
 * block anybody.
 *
 * The lock folder holds one file named by a number that only ever grows. The holder is the process named in the
 * highest one; taking over from a dead one means creating the next number, which only one process can do. The
 * highest file stays when the lock is released, so that no number comes twice.
 * @throws {RksError} ALREADY_RUNNING naming the holder's process, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function lockFolder(folder: string, options: FolderLockOptions): Promise<AsyncDisposable> {
  await makeFolder(folder, { mode: 0o700 });
  const self = await ownIdentity();
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const highest = await highestNumber(folder);
    const current = highest === 0 ? undefined : await readHolder(folder, highest);
    if (current !== undefined && (await isHeld(current, options))) throw alreadyRunning(folder, current);
    const mine = highest + 1;
    if (!(await claim(folder, mine, self))) continue;
    // Somebody may have been further ahead when this process looked.
    if ((await highestNumber(folder)) > mine) continue;
    await removeBelow(folder, mine);
    return { [Symbol.asyncDispose]: () => release(folder, mine) };
  }
  throw new RksError("BUSY", `too many processes want "${folder}" at the same time`, {
    suggestion: "Start only one.",
  });
}

async function isHeld(current: ProcessIdentity, options: FolderLockOptions): Promise<boolean> {
  return (await isRunning(current)) ?? (await options.answers());
}

async function claim(folder: string, number: number, self: ProcessIdentity): Promise<boolean> {
  try {
    await createDurably(join(folder, String(number)), JSON.stringify(self), { mode: 0o600 });
    return true;
  } catch (error) {
    if (error instanceof RksError && error.code === "ALREADY_EXISTS") return false;
    throw error;
  }
}

/** An empty file in the next number: nobody holds the lock, and no number is used twice. */
async function release(folder: string, number: number): Promise<void> {
  // Where this fails the holder is dead soon, which frees the folder as well.
  await createDurably(join(folder, String(number + 1)), "", { mode: 0o600 }).then(
    () => removeBelow(folder, number + 1),
    () => undefined,
  );
}

async function readHolder(folder: string, number: number): Promise<ProcessIdentity | undefined> {
  try {
    const parsed = holder.safeParse(JSON.parse(await readFile(join(folder, String(number)), "utf8")));
    return parsed.data;
  } catch {
    return undefined; // Released, or removed by somebody who is further ahead.
  }
}

async function highestNumber(folder: string): Promise<number> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw fileError(`read the folder "${folder}"`, cause);
  });
  return Math.max(0, ...names.filter((name) => /^[1-9]\d{0,14}$/.test(name)).map(Number));
}

async function removeBelow(folder: string, number: number): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (/^\d+$/.test(name) && Number(name) < number)
      await rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

function alreadyRunning(folder: string, current: ProcessIdentity): RksError {
  return new RksError(
    "ALREADY_RUNNING",
    `process ${current.pid} already works on "${folder.replace(/\/lock$/, "")}"`,
    {
      suggestion: `Stop it with \`kill ${current.pid}\`, or use another vault_folder.`,
    },
  );
}
