import { randomUUID } from "node:crypto";
import { chmod, mkdir, open, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

import { RksError } from "@rk8s/protocol";

const META_MAGIC = 0xbeefc0de;
/** Offsets in a meta page: LMDB's MDB_page header is 24 bytes, MDB_meta follows. */
const MAGIC_OFFSET = 24;
const PAGE_SIZE_OFFSET = 48;
const LAST_PAGE_OFFSET = 144;
const META_BYTES = 160;
/** Enough for the two meta pages and the lock file of a new store. */
const PROBE_BYTES = 64 * 1024;

/**
 * Make a folder ready for LMDB to open: 0700 with the two files in it 0600, space to write, and a data file that
 * is one. LMDB itself ends the process (SIGSEGV, SIGBUS) when these do not hold, so they are checked before.
 * @throws {RksError} STORAGE_CORRUPT when the data file is not LMDB's; foreign errors of `node:fs` otherwise.
 */
export async function prepareLmdbFolder(path: string): Promise<void> {
  const folder = resolve(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  await assertSpace(folder);
  const dataFile = join(folder, "data.mdb");
  for (const file of [dataFile, join(folder, "lock.mdb")]) {
    const handle = await open(file, "a+", 0o600);
    await handle.close();
    await chmod(file, 0o600);
  }
  // LMDB synchronises its files, not the folders that name them.
  await syncFolder(folder);
  await syncFolder(dirname(folder));
  await assertDataFile(dataFile);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function assertSpace(folder: string): Promise<void> {
  const file = join(folder, `.probe-${randomUUID()}`);
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, "wx", 0o600);
    await handle.writeFile(new Uint8Array(PROBE_BYTES));
    await handle.sync();
  } finally {
    await handle?.close();
    await rm(file, { force: true });
  }
}

/** A file that was cut short is filled up with zeros: LMDB then reports the damage instead of reading past its end. */
async function assertDataFile(file: string): Promise<void> {
  const { size } = await stat(file);
  if (size === 0) return;
  const handle = await open(file, "r+");
  try {
    const pageSize = (await metaPage(handle, 0)).readUInt32LE(PAGE_SIZE_OFFSET);
    if (pageSize < 512 || pageSize > 65_536 || size < 2 * pageSize) throw notLmdb(file);
    const lastPages = [await metaPage(handle, 0), await metaPage(handle, pageSize)].map((meta) => {
      if (meta.readUInt32LE(MAGIC_OFFSET) !== META_MAGIC) throw notLmdb(file);
      return Number(meta.readBigUInt64LE(LAST_PAGE_OFFSET));
    });
    const needed = (Math.max(...lastPages) + 1) * pageSize;
    if (!Number.isSafeInteger(needed)) throw notLmdb(file);
    if (size < needed) await handle.truncate(needed);
  } finally {
    await handle.close();
  }
}

async function metaPage(handle: FileHandle, position: number): Promise<Buffer> {
  const { buffer } = await handle.read(Buffer.alloc(META_BYTES), 0, META_BYTES, position);
  return buffer;
}

function notLmdb(file: string): RksError {
  return new RksError("STORAGE_CORRUPT", `"${file}" is not a storage file`, {
    suggestion: "Restore the data folder from a backup, or name another folder.",
  });
}
