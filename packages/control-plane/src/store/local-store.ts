import { rename } from "node:fs/promises";
import type { Storage } from "@rk8s/storage";
import { exists, fileError, syncFolder } from "../lifecycle/durable-file.js";
import type { VaultFolder } from "../lifecycle/vault-folder.js";
import { readState, type StoreState } from "./store-state.js";

export type OpenFolder = (folder: string) => Promise<Storage>;

/**
 * Put what came back whole from another store into its place; half of it stays where it is. The caller holds the folder's
 * lock.
 * @throws {RksError} STORAGE_UNWRITABLE, and as opening the store does.
 */
export async function finishIncoming(
  folder: VaultFolder,
  openFolder: OpenFolder,
  now: number,
): Promise<void> {
  if (!(await exists(folder.incomingStore))) return;
  if ((await stateIn(folder.incomingStore, openFolder)) === "active") await putInPlace(folder, now);
}

/**
 * Give the store that came back its place; what was there, a copy that was left before, becomes a backup. It may be open.
 * @throws {RksError} STORAGE_UNWRITABLE.
 */
export async function putInPlace(folder: VaultFolder, now: number): Promise<void> {
  if (await exists(folder.store)) await archiveStore(folder, now);
  await move(folder.incomingStore, folder.store, folder);
}

/**
 * Keep a store that the vault has left, as it is: sealed. Gives its folder.
 * @throws {RksError} STORAGE_UNWRITABLE.
 */
export async function archiveStore(folder: VaultFolder, now: number): Promise<string> {
  const stamp = new Date(now).toISOString().replace(/[-:]|\.\d+/g, "");
  for (let count = 1; ; count += 1) {
    const backup = `${folder.store}-backup-${stamp}${count === 1 ? "" : `-${count}`}`;
    if (await exists(backup)) continue;
    await move(folder.store, backup, folder);
    return backup;
  }
}

async function move(from: string, to: string, { folder }: VaultFolder): Promise<void> {
  try {
    await rename(from, to);
    await syncFolder(folder);
  } catch (cause) {
    throw fileError(`rename "${from}"`, cause);
  }
}

async function stateIn(path: string, openFolder: OpenFolder): Promise<StoreState["state"] | undefined> {
  await using storage = await openFolder(path);
  return (await readState(storage))?.state.state;
}
