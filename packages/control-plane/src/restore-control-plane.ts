import { mkdir, rm } from "node:fs/promises";
import { socketAnswers, systemClock } from "@rk8s/host";
import { type Clock, type Logger, RksError, type Secret, silentLogger } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { restoreBackup, type RestoreResult } from "./backup/restore-backup.js";
import type { ControlPlaneConfig } from "./config/config.js";
import { Disposables } from "./lifecycle/disposables.js";
import { exists } from "./lifecycle/durable-file.js";
import { lockFolder } from "./lifecycle/folder-lock.js";
import { type VaultFolder, vaultFolderAt } from "./lifecycle/vault-folder.js";
import type { StoreOpeners } from "./store/choose-store.js";
import { homeAt, readHome, writeHome } from "./store/home-file.js";
import { finishIncoming, putInPlace } from "./store/local-store.js";
import { storeOpeners } from "./store/open-store.js";
import { storeName } from "./store/store-name.js";

export interface RestoreControlPlanePorts {
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  /** How stores are opened. Default: as `createControlPlane`. */
  readonly stores?: StoreOpeners | undefined;
}

export interface RestoreRequest {
  /** What a backup was written to. */
  readonly file: string;
  /** What opens the vault of the backup, base64. */
  readonly shares: readonly Secret<string>[];
  /** As `RestoreInit`. */
  readonly adoptNodes: boolean;
}

/**
 * Put a backup into the store of a config, which must be empty: what `rks storage restore` does. A store in the vault folder is
 * filled beside its place and put there when it is whole.
 * @throws {RksError} ALREADY_RUNNING while an rks runs on the folder, and as `restoreBackup`.
 */
export async function restoreControlPlane(
  config: ControlPlaneConfig,
  request: RestoreRequest,
  ports: RestoreControlPlanePorts = {},
): Promise<RestoreResult> {
  const { clock = systemClock, logger = silentLogger } = ports;
  const folder = vaultFolderAt(config.vaultFolder);
  await mkdir(folder.folder, { recursive: true, mode: 0o755 });
  await using owned = new Disposables({ logger });
  owned.use(await lockFolder(folder.lock, { answers: () => socketAnswers(folder.socket) }));
  const openers = ports.stores ?? storeOpeners(folder, { clock, logger });
  if (config.store.type === "local") await assertNoStore(folder, openers, clock.now());
  const target = owned.use(await openTarget(config, folder, openers));
  const home = await readHome(folder.home);
  const to = storeName(config.store);
  const seenEpoch = (vault: string): number => (home?.vault === vault ? home.epoch : 0);
  const restored = await restoreBackup({ ...request, target, to, seenEpoch }, { clock });
  await target[Symbol.asyncDispose]();
  if (config.store.type === "local") await putInPlace(folder, clock.now());
  // Before the first start, which may be one that names an older store.
  await writeHome(folder.home, homeAt(config.store, restored, clock.now()));
  return restored;
}

/** Where the vault came back whole from another store and the process died, it is the vault, and is put into its place. */
async function assertNoStore(folder: VaultFolder, { openFolder }: StoreOpeners, now: number): Promise<void> {
  await finishIncoming(folder, openFolder, now);
  if (!(await exists(folder.store))) return;
  throw new RksError("ALREADY_EXISTS", `there is a store in "${folder.folder}" already`, {
    suggestion: `Move ${folder.store} away first; a restore never replaces anything.`,
  });
}

async function openTarget(
  { store }: ControlPlaneConfig,
  folder: VaultFolder,
  openers: StoreOpeners,
): Promise<Storage> {
  if (store.type !== "local") return openers.openExternal(store);
  // Half of a copy or of a restore is no vault; it is made anew.
  await rm(folder.incomingStore, { recursive: true, force: true });
  return openers.openFolder(folder.incomingStore);
}
