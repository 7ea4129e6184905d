import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Clock, type Logger, silentLogger } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { StoreConfig } from "../config/config.js";
import type { Vault } from "../vault/vault.js";
import { clusterCaOf, openClusterVault } from "./cluster-vault.js";
import { makeMemberFolder, MEMBER_FOLDER_PREFIX, writeClient } from "./store-certificates.js";
import { FILE_NAMES, type VaultFolder } from "./vault-folder.js";

export interface StagedVaultPorts {
  readonly clock: Clock;
  readonly logger?: Logger | undefined;
  /** Opens the store in a folder. */
  readonly openStorage: (folder: string) => Promise<Storage>;
}

/** Open the vault of a store that nobody serves, and close both when the work is done. */
export async function withVault<T>(
  storeFolder: string,
  { clock, logger = silentLogger, openStorage }: StagedVaultPorts,
  work: (vault: Vault) => Promise<T>,
): Promise<T> {
  await using storage = await openStorage(storeFolder);
  await using vault = await openClusterVault({ storage, type: "local" }, { clock, logger });
  return await work(vault);
}

/**
 * Write what the external store of a config needs of an open vault, if it names one; gives the names of what was made.
 * @throws {RksError} INPUT_INVALID for a host that cannot be certified, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function writeStoreFiles(
  store: StoreConfig,
  staging: string,
  vault: Vault,
): Promise<readonly string[]> {
  if (store.type !== "etcd") return [];
  const certifying = { clusterCa: clusterCaOf(vault), barrier: vault.barrier };
  await writeClient(join(staging, FILE_NAMES.storeClient), certifying);
  const names: string[] = [FILE_NAMES.storeClient];
  for (const endpoint of store.endpoints) {
    names.push(basename(await makeMemberFolder(staging, endpoint, certifying)));
  }
  return names;
}

/** The names of what in the staging folder belongs beside the store. */
export async function stagedNames({ staging }: VaultFolder): Promise<readonly string[]> {
  const known: readonly string[] = Object.values(FILE_NAMES);
  const names = await readdir(staging);
  return names.filter((name) => known.includes(name) || name.startsWith(MEMBER_FOLDER_PREFIX));
}
