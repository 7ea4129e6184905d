import { type Clock, RksError } from "@rk8s/protocol";
import { type Entry, pagesOf, type Storage } from "@rk8s/storage";
import {
  addTotals,
  DIGEST_PURPOSE,
  type DigestTotal,
  EMPTY_TOTAL,
  formatSum,
  StoreDigest,
} from "../store/store-digest.js";
import { isContent, SEAL_PREFIX } from "../store/store-state.js";
import { isOfMembers } from "../vault/members/places.js";
import type { StoreGuard } from "../vault/vault.js";
import { type BackupHeader, writeBackup } from "./backup-file.js";
import { takeBackupPlace } from "./backup-place.js";
import { copySnapshot } from "./copy-snapshot.js";

const PAGE_ENTRIES = 256;

export interface BackupInit {
  /** The vault's, below the barrier; anybody may write to it meanwhile. */
  readonly storage: Storage;
  readonly vault: string;
  readonly epoch: number;
  readonly guard: StoreGuard;
  /** Where the backup is to be; nothing may be there. Absolute. */
  readonly file: string;
  /** Where the backup must not be. */
  readonly vaultFolder: string;
}

export interface BackupPorts {
  readonly clock: Clock;
  /** Opens an embedded store in a folder. */
  readonly openFolder: (folder: string) => Promise<Storage>;
}

/**
 * Take a backup while the store is used, by this process and by others: a scratch store beside the file becomes what the store
 * is at one revision, and is written to the file. Entries stay encrypted as they are.
 * @throws {RksError} ALREADY_EXISTS, INPUT_INVALID for a file in the vault folder, TIMED_OUT, STORAGE_FULL, STORAGE_UNWRITABLE, and as
 * `copySnapshot` and the store do; the signal's reason.
 */
export async function takeBackup(
  { storage, vault, epoch, guard, file, vaultFolder }: BackupInit,
  { clock, openFolder }: BackupPorts,
  signal: AbortSignal,
): Promise<BackupHeader> {
  await using place = await takeBackupPlace(file, vaultFolder);
  const derived = guard.deriveKey(DIGEST_PURPOSE);
  if (derived === undefined) throw RksError.from(new Error("the active term has no key"));
  try {
    await using copy = await openFolder(place.store);
    const at = await copySnapshot({ source: storage, copy, isKept }, clock, signal);
    const total = await totalOf(copy, new StoreDigest(derived.key), signal);
    const about: BackupHeader = {
      format: "rks-backup/1",
      vault,
      epoch,
      createdAt: at.toISOString(),
      entries: total.entries,
      digest: formatSum(total),
      term: derived.term,
    };
    await writeBackup(place, about, guard, inOrder(copy, signal));
    return about;
  } finally {
    derived.key.fill(0);
  }
}

/** Who has the store open, and what is about the store rather than in it, is nothing to bring back. */
function isKept(key: string): boolean {
  return isContent(key) || (key.startsWith(SEAL_PREFIX) && !isOfMembers(key));
}

async function totalOf(copy: Storage, digest: StoreDigest, signal: AbortSignal): Promise<DigestTotal> {
  let total = EMPTY_TOTAL;
  for await (const entries of pagesOf(copy, "", { limit: PAGE_ENTRIES })) {
    signal.throwIfAborted();
    total = addTotals(total, digest.total(entries));
  }
  return total;
}

/** The seal first: with it the rest can be judged. */
async function* inOrder(copy: Storage, signal: AbortSignal): AsyncGenerator<readonly Entry[], void, void> {
  yield* pagesOf(copy, SEAL_PREFIX, { limit: PAGE_ENTRIES });
  for await (const entries of pagesOf(copy, "", { limit: PAGE_ENTRIES })) {
    signal.throwIfAborted();
    yield entries.filter(({ key }) => isContent(key));
  }
}
