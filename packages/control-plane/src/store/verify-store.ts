import { setImmediate as nextTurn } from "node:timers/promises";
import { pagesOf, type Storage } from "@rk8s/storage";
import type { StoreGuard } from "../vault/vault.js";

/** Entries that are read at a time, with a turn of the event loop between them. */
const PAGE_ENTRIES = 128;
/** Keys that a report names. */
const MAX_NAMED = 20;

/** What a store holds, as far as it could be trusted. */
export interface StoreReport {
  readonly entries: number;
  readonly bytes: number;
  /** Entries that are not what the vault wrote there. */
  readonly damaged: number;
  /** The first of them. */
  readonly damagedKeys: readonly string[];
}

/**
 * Read every entry and check that the vault wrote it, under its key. What was deleted behind the vault's back is not seen.
 * @throws the signal's reason; {RksError} VAULT_SEALED, and as the store does.
 */
export async function verifyStore(
  storage: Pick<Storage, "list">,
  guard: Pick<StoreGuard, "isAuthentic">,
  signal: AbortSignal,
): Promise<StoreReport> {
  const damagedKeys: string[] = [];
  let entries = 0;
  let bytes = 0;
  let damaged = 0;
  for await (const page of pagesOf(storage, "", { limit: PAGE_ENTRIES })) {
    signal.throwIfAborted();
    for (const entry of page) {
      entries += 1;
      bytes += entry.key.length + entry.value.byteLength;
      if (guard.isAuthentic(entry) !== false) continue;
      damaged += 1;
      if (damagedKeys.length < MAX_NAMED) damagedKeys.push(entry.key);
    }
    await nextTurn();
  }
  return { entries, bytes, damaged, damagedKeys };
}
