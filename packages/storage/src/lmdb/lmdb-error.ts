import { statfsSync } from "node:fs";
import { constants } from "node:os";

import { RksError } from "@rk8s/protocol";
import type { ErrorCode } from "@rk8s/protocol";

const { EACCES, EDQUOT, EFBIG, EIO, ENOSPC, EPERM, EROFS } = constants.errno;

/** What LMDB's return codes and the system's error numbers mean to a caller. */
const CODES = new Map<number | string, ErrorCode>([
  [ENOSPC, "STORAGE_FULL"],
  ["ENOSPC", "STORAGE_FULL"],
  [EDQUOT, "STORAGE_FULL"],
  ["EDQUOT", "STORAGE_FULL"],
  [EFBIG, "STORAGE_FULL"],
  ["EFBIG", "STORAGE_FULL"],
  [-30792, "STORAGE_FULL"], // MDB_MAP_FULL
  [EROFS, "STORAGE_UNWRITABLE"],
  ["EROFS", "STORAGE_UNWRITABLE"],
  [EACCES, "STORAGE_UNWRITABLE"],
  ["EACCES", "STORAGE_UNWRITABLE"],
  [EPERM, "STORAGE_UNWRITABLE"],
  ["EPERM", "STORAGE_UNWRITABLE"],
  ["ENOTDIR", "STORAGE_UNWRITABLE"],
  ["EEXIST", "STORAGE_UNWRITABLE"],
  ["ENOENT", "STORAGE_UNWRITABLE"], // what a recursive mkdir says on a read-only file system
  [EIO, "STORAGE_UNWRITABLE"],
  ["EIO", "STORAGE_UNWRITABLE"],
  [-30797, "STORAGE_CORRUPT"], // MDB_PAGE_NOTFOUND
  [-30796, "STORAGE_CORRUPT"], // MDB_CORRUPTED
  [-30795, "STORAGE_CORRUPT"], // MDB_PANIC
  [-30793, "STORAGE_CORRUPT"], // MDB_INVALID
]);

/** With less free than this, an I/O error is taken for a full disk. */
const NEARLY_FULL_BYTES = 8 * 1024 * 1024;

const SUGGESTIONS: Partial<Record<ErrorCode, string>> = {
  STORAGE_FULL: "Free space on the disk of the data folder; the request can then be tried again.",
  STORAGE_UNWRITABLE: "Make the data folder writable for the user that runs rks.",
  STORAGE_CORRUPT: "Check the disk and restore the data folder from a backup.",
};

const PROBLEMS: Partial<Record<ErrorCode, string>> = {
  STORAGE_FULL: "no space left for",
  STORAGE_UNWRITABLE: "cannot write to",
  STORAGE_CORRUPT: "cannot trust",
};

/** Turn what LMDB or `node:fs` threw into an `RksError`; the one place where foreign storage errors enter. */
export function lmdbError(folder: string, reason: unknown): RksError {
  if (reason instanceof RksError) return reason;
  const code = errorCode(folder, reason);
  if (code === undefined) return RksError.from(reason);
  return new RksError(code, `${PROBLEMS[code] ?? "cannot use"} the storage in "${folder}"`, {
    suggestion: SUGGESTIONS[code],
    cause: reason,
  });
}

function errorCode(folder: string, reason: unknown): ErrorCode | undefined {
  const number = reason instanceof Error && "code" in reason ? reason.code : undefined;
  if (typeof number !== "number" && typeof number !== "string") return undefined;
  // LMDB reports EIO when the disk became full in the middle of a write.
  if (number === EIO && isNearlyFull(folder)) return "STORAGE_FULL";
  return CODES.get(number);
}

function isNearlyFull(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < NEARLY_FULL_BYTES;
  } catch {
    return false;
  }
}
