import { randomBytes } from "node:crypto";
import { access, link, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { type ErrorCode, RksError } from "@rk8s/protocol";

/**
 * Write a file so that it is there whole or not at all, also after a power cut: temporary file, fsync, rename,
 * fsync of the folder. Replaces what was there.
 * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function writeDurably(
  file: string,
  content: string | Uint8Array,
  options: { readonly mode: number },
): Promise<void> {
  await writeVia(file, content, options.mode, (temporary) => rename(temporary, file));
}

/**
 * As `writeDurably`, but never replaces a file: of several writers exactly one succeeds.
 * @throws {RksError} ALREADY_EXISTS, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function createDurably(
  file: string,
  content: string | Uint8Array,
  options: { readonly mode: number },
): Promise<void> {
  await writeVia(file, content, options.mode, async (temporary) => {
    await link(temporary, file);
    await rm(temporary);
  });
}

async function writeVia(
  file: string,
  content: string | Uint8Array,
  mode: number,
  publish: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const handle = await open(temporary, "wx", mode);
    try {
      await handle.chmod(mode);
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await publish(temporary);
    await syncFolder(dirname(file));
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw fileError(`write "${file}"`, cause);
  }
}

/**
 * Make a folder and those above it; there already is fine.
 * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function makeFolder(folder: string, options: { readonly mode: number }): Promise<void> {
  try {
    // Making the last part alone says best what is wrong: with `recursive`, a read-only disk is ENOENT.
    await mkdir(folder, options);
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") await makeParents(folder, options);
    else if (errnoOf(cause) !== "EEXIST" || !(await isFolder(folder))) throw folderError(folder, cause);
  }
}

async function makeParents(folder: string, options: { readonly mode: number }): Promise<void> {
  try {
    await mkdir(folder, { ...options, recursive: true });
  } catch (cause) {
    throw folderError(folder, cause);
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function folderError(folder: string, cause: unknown): RksError {
  if (errnoOf(cause) !== "EEXIST") return fileError(`make the folder "${folder}"`, cause);
  return new RksError("STORAGE_UNWRITABLE", `"${folder}" is not a folder`, {
    cause,
    suggestion: "Move the file away, or choose another path.",
  });
}

/** Make the names in a folder durable. @throws foreign errors of `node:fs`. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Whether there is anything at the path. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: unknown) => {
      if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return false;
      throw fileError(`look at "${path}"`, error);
    },
  );
}

/** The system's name of a foreign error: `ENOENT`. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const MEANINGS: Readonly<Record<string, readonly [code: ErrorCode, reason: string, suggestion: string]>> = {
  ENOSPC: ["STORAGE_FULL", "the disk is full", "Free some space and run the command again."],
  EDQUOT: ["STORAGE_FULL", "the quota is used up", "Free some space and run the command again."],
  EROFS: ["STORAGE_UNWRITABLE", "the file system is read-only", "Choose a folder that can be written to."],
  EACCES: [
    "STORAGE_UNWRITABLE",
    "permission denied",
    "Run as the user who owns the folder, or choose another one.",
  ],
  EPERM: [
    "STORAGE_UNWRITABLE",
    "operation not permitted",
    "Run as the user who owns the folder, or choose another one.",
  ],
  ENOTDIR: [
    "STORAGE_UNWRITABLE",
    "a part of the path is not a folder",
    "Correct the path in the config file.",
  ],
  ENOENT: [
    "STORAGE_UNWRITABLE",
    "a part of the path does not exist",
    "Make the folder, or correct the path in the config file.",
  ],
  EEXIST: ["ALREADY_EXISTS", "it exists already", "Move it away or choose another path."],
};

/** What went wrong with a file, as an `RksError`: `cannot write "/x": the disk is full`. */
export function fileError(attempt: string, cause: unknown): RksError {
  if (cause instanceof RksError) return cause;
  const [code, reason, suggestion] = MEANINGS[errnoOf(cause) ?? ""] ?? [
    "STORAGE_UNWRITABLE",
    errnoOf(cause) ?? "unknown reason",
    "See the log for the cause.",
  ];
  return new RksError(code, `cannot ${attempt}: ${reason}`, { cause, suggestion });
}
