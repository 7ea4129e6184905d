import { type Clock, RksError, type Secret } from "@rk8s/protocol";
import { type Entry, MAX_TRANSACTION_WRITES, memoryStorage, type Storage, type Write } from "@rk8s/storage";
import { ClaimedStore, takenByOther } from "../migration/claimed-store.js";
import type { KeySource } from "../store/record-mac.js";
import { addTotals, DIGEST_PURPOSE, formatSum, StoreDigest } from "../store/store-digest.js";
import { isAuthentic, readState, SEAL_PREFIX, stateWrite } from "../store/store-state.js";
import { advancedCounter, SEQUENCE_PREFIX } from "../vault/seal/barrier.js";
import type { Keyring } from "../vault/seal/keyring.js";
import type { VaultKeys } from "../vault/seal/seal.js";
import {
  type BackupHeader,
  damagedBackup,
  isAuthenticHeader,
  readBackupEntries,
  readBackupHeader,
} from "./backup-file.js";
import { keySourceOf, openVaultKeys } from "./open-vault-keys.js";

/** Entries that are judged or written at a time. */
const BATCH_ENTRIES = 128;

export interface RestoreInit {
  readonly file: string;
  /** Empty, or with half of what was restored before. */
  readonly target: Storage;
  /** The target, for people. */
  readonly to: string;
  /** What opens the vault of the backup, base64. */
  readonly shares: readonly Secret<string>[];
  /** The highest epoch that this host has seen of each vault. */
  readonly seenEpoch: (vault: string) => number;
  /** Let nodes go on with certificates that were issued since the backup; banned ones too, which nobody knows any more. */
  readonly adoptNodes: boolean;
}

type BackupEntry = Pick<Entry, "key" | "value">;

/** A backup whose seal was read. */
interface OpenBackup {
  readonly file: string;
  /** Where its entries begin, the seal's first. */
  readonly from: number;
  readonly header: BackupHeader;
  readonly seal: readonly BackupEntry[];
}

/** What was restored. */
export interface RestoreResult {
  readonly vault: string;
  readonly createdAt: string;
  readonly entries: number;
  /** From now on; above all that were before. */
  readonly epoch: number;
}

/**
 * Put a backup into an empty store. It is read twice: first to see that it is whole and this vault's, then to write it, and what was
 * written is summed as well. The last transaction makes the store the vault, in a new epoch and with a counter that is above all that anybody has seen, so
 * that every older state is noticed. What must not come back with it (open join tokens) is voided by the next start, before it
 * serves.
 * @throws {RksError} INPUT_INVALID when the file is no backup; UNSEAL_KEY_INVALID; STORAGE_CORRUPT when it is damaged or
 * altered, also while it is read; ALREADY_EXISTS when the store is not empty; CONFLICT when somebody else fills it; and as the store does.
 */
export async function restoreBackup(
  { file, target, to, shares, seenEpoch, adoptNodes: adoptsNodes }: RestoreInit,
  ports: { readonly clock: Pick<Clock, "now"> },
): Promise<RestoreResult> {
  const read = await readBackupHeader(file);
  const { header } = read;
  const seal = await sealEntries(file, read.bytes);
  const backup: OpenBackup = { file, from: read.bytes, header, seal };
  const keys = await openKeys(seal, shares);
  const source = keySourceOf(keys);
  try {
    if (!isAuthenticHeader(read, source)) throw damagedBackup(file);
    await readWhole(backup, source, () => Promise.resolve());
    const at = new Date(ports.clock.now()).toISOString();
    const epoch = Math.max(header.epoch, seenEpoch(header.vault)) + 1;
    const about = { version: 1, vault: header.vault, epoch, at, restoredFrom: header.createdAt } as const;
    const claimed = await claimEmpty(
      target,
      to,
      source,
      stateWrite({ ...about, state: "restoring" }, source),
    );
    // The file may have been changed or cut since.
    await readWhole(backup, source, (entries) => claimed.write(entries.map(putOf)));
    const last = seal.map((entry) => putOf({ ...entry, value: sealValue(entry, keys.keyring) }));
    const active = stateWrite({ ...about, state: "active", isUnsettled: true, adoptsNodes }, source);
    if (!(await claimed.transaction([...last, active])).succeeded) throw takenByOther(to);
    return { vault: header.vault, createdAt: header.createdAt, entries: header.entries, epoch };
  } finally {
    keys.rootKey.fill(0);
    keys.keyring.zero();
  }
}

/** They come first, and are as many as one transaction writes with the state. */
async function sealEntries(file: string, from: number): Promise<readonly BackupEntry[]> {
  const entries: BackupEntry[] = [];
  for await (const entry of readBackupEntries(file, from)) {
    if (!entry.key.startsWith(SEAL_PREFIX)) break;
    entries.push(entry);
    if (entries.length === MAX_TRANSACTION_WRITES) throw damagedBackup(file);
  }
  return entries;
}

async function openKeys(
  entries: readonly BackupEntry[],
  shares: readonly Secret<string>[],
): Promise<VaultKeys> {
  await using storage = memoryStorage();
  await storage.transaction(
    [],
    entries.map(({ key, value }) => ({ type: "put", key, value })),
  );
  return await openVaultKeys(storage, shares);
}

/**
 * Read the entries but the seal's, a few at a time; together with the seal they must be what the backup says that it holds,
 * which is known when this resolves.
 */
async function readWhole(
  { file, from, header, seal }: OpenBackup,
  source: KeySource,
  use: (entries: readonly BackupEntry[]) => Promise<void>,
): Promise<void> {
  const derived = source.deriveKey(DIGEST_PURPOSE, header.term);
  if (derived === undefined) throw damagedBackup(file);
  const digest = new StoreDigest(derived.key);
  try {
    let total = digest.total(seal);
    for await (const batch of inBatches(readBackupEntries(file, from))) {
      const entries = batch.filter(({ key }) => !key.startsWith(SEAL_PREFIX));
      total = addTotals(total, digest.total(entries));
      await use(entries);
    }
    if (total.entries !== header.entries || formatSum(total) !== header.digest) throw damagedBackup(file);
  } finally {
    derived.key.fill(0);
  }
}

/** Take a store with nothing in it, or with what a restore that was killed left behind. */
async function claimEmpty(
  target: Storage,
  to: string,
  source: KeySource,
  state: Write,
): Promise<ClaimedStore> {
  const stored = await readState(target);
  const isRemains = stored?.state.state === "restoring" && isAuthentic(stored, source);
  if (!isRemains && (await target.list("", { limit: 1 })).entries.length > 0) throw notEmpty(to);
  const claimed = await ClaimedStore.take(target, { name: to, stored, state });
  if (isRemains) await claimed.clear("");
  return claimed;
}

function putOf({ key, value }: BackupEntry): Write {
  return { type: "put", key, value };
}

function sealValue({ key, value }: BackupEntry, keyring: Keyring): Uint8Array {
  return key === SEQUENCE_PREFIX ? advancedCounter(keyring, value) : value;
}

async function* inBatches<T>(items: AsyncIterable<T>): AsyncGenerator<readonly T[], void, void> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < BATCH_ENTRIES) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

function notEmpty(to: string): RksError {
  return new RksError("ALREADY_EXISTS", `the store at ${to} is not empty`, {
    suggestion:
      "Restore to an empty store: move the vault folder's store away, or choose another prefix or database.",
  });
}
