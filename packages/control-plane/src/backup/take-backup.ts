import { rm } from "node:fs/promises";
import { type Clock, RksError, withDeadline } from "@rk8s/protocol";
import { type Entry, pagesOf, type Storage } from "@rk8s/storage";
import { StoreCopy } from "../migration/store-copy.js";
import type { SwitchableStorage } from "../migration/switchable-storage.js";
import { addTotals, DIGEST_PURPOSE, formatSum, StoreDigest } from "../store/store-digest.js";
import { readSealEntries } from "../store/store-state.js";
import type { StoreGuard } from "../vault/vault.js";
import { type BackupHeader, writeBackup } from "./backup-file.js";

/** Whoever writes waits at most so long. */
const MAX_PAUSE_MS = 2_000;
const PAGE_ENTRIES = 256;

export interface BackupInit {
  readonly storage: SwitchableStorage;
  readonly vault: string;
  readonly epoch: number;
  readonly guard: StoreGuard;
  /** Where the backup is to be; nothing may be there. Absolute. */
  readonly file: string;
}

export interface BackupPorts {
  readonly clock: Clock;
  /** Opens an embedded store in a folder. */
  readonly openFolder: (folder: string) => Promise<Storage>;
}

/**
 * Take a backup while the store is used: everything is copied into a scratch store beside the file, then what was written
 * meanwhile while writes are held back for a moment; what is there then is one state of the store, and is written to the file.
 * Entries stay encrypted as they are.
 * @throws {RksError} ALREADY_EXISTS, TIMED_OUT, STORAGE_FULL, STORAGE_UNWRITABLE, and as the store does; the signal's reason.
 */
export async function takeBackup(
  { storage, vault, epoch, guard, file }: BackupInit,
  { clock, openFolder }: BackupPorts,
  signal: AbortSignal,
): Promise<BackupHeader> {
  const derived = guard.deriveKey(DIGEST_PURPOSE);
  if (derived === undefined) throw RksError.from(new Error("the active term has no key"));
  const scratch = `${file}.scratch`;
  await rm(scratch, { recursive: true, force: true });
  try {
    await using copied = await openFolder(scratch);
    const digest = new StoreDigest(derived.key);
    const copy = new StoreCopy({
      source: storage.current,
      target: copied,
      digest,
      isTargetEmpty: true,
    });
    storage.onWritten((keys) => copy.touched(keys));
    await copy.catchUp(signal);
    const { total, seal, createdAt } = await withDeadline((inner) => lastPart(storage, copy, clock, inner), {
      clock,
      timeoutMs: MAX_PAUSE_MS,
      attempt: "the last part could not be copied",
      signal,
    });
    storage.onWritten(undefined);
    const all = addTotals(total, digest.total(seal));
    const about: BackupHeader = {
      format: "rks-backup/1",
      vault,
      epoch,
      createdAt,
      entries: all.entries,
      digest: formatSum(all),
      term: derived.term,
    };
    await writeBackup(file, about, guard, inOrder(seal, copied));
    return about;
  } finally {
    storage.onWritten(undefined);
    derived.key.fill(0);
    await rm(scratch, { recursive: true, force: true });
  }
}

async function lastPart(
  storage: SwitchableStorage,
  copy: StoreCopy,
  clock: Clock,
  signal: AbortSignal,
): Promise<{
  readonly total: Awaited<ReturnType<StoreCopy["finish"]>>;
  readonly seal: readonly Entry[];
  readonly createdAt: string;
}> {
  const pause = await storage.pause({ signal });
  try {
    const total = await copy.finish(signal);
    const seal = await readSealEntries(storage.current);
    return { total, seal, createdAt: new Date(clock.now()).toISOString() };
  } finally {
    pause.resume();
  }
}

/** The seal first: with it the rest can be judged. */
async function* inOrder(
  seal: readonly Entry[],
  copied: Storage,
): AsyncGenerator<readonly Entry[], void, void> {
  yield seal;
  yield* pagesOf(copied, "", { limit: PAGE_ENTRIES });
}
