import { mkdir, realpath, rm } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { RksError } from "@rk8s/protocol";
import { errnoOf, exists, fileError } from "../lifecycle/durable-file.js";

/** Where a backup is made: a folder beside its file, which nobody else has, until it is disposed. */
export interface BackupPlace extends AsyncDisposable {
  /** What the backup is to be; nothing is there yet. */
  readonly file: string;
  /** For the store that it is made of. */
  readonly store: string;
  /** What becomes the file when it is whole. */
  readonly unfinished: string;
}

/**
 * Take a place for a backup. Nothing that is there is touched; what a backup that was killed has left is to be removed by hand.
 * @param file absolute.
 * @param vaultFolder where no backup may be: names in it have a meaning, and it is lost with what is backed up.
 * @throws {RksError} ALREADY_EXISTS, INPUT_INVALID for a file in the vault folder, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function takeBackupPlace(file: string, vaultFolder: string): Promise<BackupPlace> {
  await assertFree(file);
  const scratch = `${file}.scratch`;
  try {
    const [folder, vault] = await Promise.all([realpath(dirname(file)), realpath(vaultFolder)]);
    if (`${folder}${sep}`.startsWith(`${vault}${sep}`)) throw insideVault(file);
    await mkdir(scratch, { mode: 0o700 });
  } catch (cause) {
    if (errnoOf(cause) === "EEXIST") throw scratchExists(scratch);
    throw fileError(`write "${file}"`, cause);
  }
  return {
    file,
    store: join(scratch, "store"),
    unfinished: join(scratch, "backup"),
    [Symbol.asyncDispose]: () => rm(scratch, { recursive: true, force: true }),
  };
}

/** @throws {RksError} ALREADY_EXISTS. */
export async function assertFree(file: string): Promise<void> {
  if (!(await exists(file))) return;
  throw new RksError("ALREADY_EXISTS", `"${file}" exists already and is left as it is`, {
    suggestion: "Choose another file name or move the old file away.",
  });
}

function scratchExists(scratch: string): RksError {
  return new RksError("ALREADY_EXISTS", `"${scratch}", where the backup is to be made, exists already`, {
    suggestion: "Remove it if a backup that was cut off has left it, or choose another file name.",
  });
}

function insideVault(file: string): RksError {
  return new RksError("INPUT_INVALID", `"${file}" is in the vault folder`, {
    suggestion: "Choose a file outside of it, best on another disk.",
  });
}
