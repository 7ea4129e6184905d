import { RksError } from "@rk8s/protocol";
import { type Storage, untilCommitted } from "@rk8s/storage";
import type { ExternalStoreConfig, StoreConfig } from "../config/config.js";
import { exists } from "../lifecycle/durable-file.js";
import { notInitialized } from "../lifecycle/initialize.js";
import type { VaultFolder } from "../lifecycle/vault-folder.js";
import { readHome } from "./home-file.js";
import { archiveStore, finishIncoming, type OpenFolder } from "./local-store.js";
import { storeName } from "./store-name.js";
import { holdsVault, readState, type StoreState, writeAgain } from "./store-state.js";

export interface StoreOpeners {
  readonly openFolder: OpenFolder;
  /** @throws {RksError} CONFIG_INVALID, UNAVAILABLE, and what else the store says. */
  readonly openExternal: (store: ExternalStoreConfig) => Promise<Storage>;
  /** Show what is in the vault folder now to the external stores that are open. @throws {RksError} CONFIG_INVALID. */
  readonly useCredentials: () => Promise<void>;
}

/** The store that a vault is in. */
export interface ChosenStore {
  readonly storage: Storage;
  readonly at: StoreConfig;
  /** Where the config wants it; undefined: it is there. */
  readonly moveTo: StoreConfig | undefined;
}

/**
 * Open the store that holds the vault of a config. A vault that is still in its folder while the config names another store
 * is opened there, to be moved. Of two stores, one of which was left, it finds the one that counts, whenever the process that
 * moved it was killed. The caller holds the folder's lock.
 * @throws {RksError} VAULT_NOT_INITIALIZED; STORAGE_MOVED when the config names the store that was left; UNAVAILABLE when the
 * store that decides does not answer, or is being filled; and as opening a store does.
 */
export async function chooseStore(
  wanted: StoreConfig,
  folder: VaultFolder,
  openers: StoreOpeners,
  now: number,
): Promise<ChosenStore> {
  await finishIncoming(folder, openers.openFolder, now);
  const local = await openLocal(folder, openers.openFolder);
  try {
    if (wanted.type === "local")
      return { storage: await localVault(local, folder), at: wanted, moveTo: undefined };
    if (local !== undefined && (await isVaultLocal(local.state, wanted, openers))) {
      return { storage: local.storage, at: { type: "local" }, moveTo: wanted };
    }
  } catch (reason) {
    await local?.storage[Symbol.asyncDispose]();
    throw reason;
  }
  if (local !== undefined) {
    await local.storage[Symbol.asyncDispose]();
    await archiveStore(folder, now);
  }
  return { storage: await externalVault(wanted, folder, openers), at: wanted, moveTo: undefined };
}

interface LocalStore {
  readonly storage: Storage;
  readonly state: StoreState | undefined;
}

async function openLocal(folder: VaultFolder, openFolder: OpenFolder): Promise<LocalStore | undefined> {
  if (!(await exists(folder.store))) return undefined;
  const storage = await openFolder(folder.store);
  try {
    return { storage, state: (await readState(storage))?.state };
  } catch (reason) {
    await storage[Symbol.asyncDispose]();
    throw reason;
  }
}

/** The vault of a config that wants it in its folder. */
async function localVault(local: LocalStore | undefined, folder: VaultFolder): Promise<Storage> {
  if (local === undefined) {
    const home = await readHome(folder.home);
    throw home === undefined ? notInitialized(folder) : moved(home.store, home.since);
  }
  const { state } = local;
  if (state?.state === "moved" || state?.state === "switching") throw moved(state.to, state.at);
  if (state?.state === "restoring") throw halfRestored(storeName({ type: "local" }));
  return local.storage;
}

/** Whether the vault is still in its folder, from where it is to be moved to `wanted`. */
async function isVaultLocal(
  state: StoreState | undefined,
  wanted: ExternalStoreConfig,
  openers: StoreOpeners,
): Promise<boolean> {
  if (state?.state === "moved") return false;
  if (state?.state === "restoring") throw halfRestored(storeName({ type: "local" }));
  if (state?.state !== "switching") return true;
  // Killed in the moment of the switch: the other store knows.
  if (state.to !== storeName(wanted)) throw moved(state.to, state.at);
  await using target = await openers.openExternal(wanted);
  return await untilCommitted(`the store at ${state.to} is changing at this moment`, async () => {
    const found = await readState(target);
    if (found?.state.state === "active" && found.state.migration === state.migration) return false;
    // What the killed process sent last may still arrive there.
    return found === undefined || (await writeAgain(target, found)) ? true : undefined;
  });
}

async function externalVault(
  wanted: ExternalStoreConfig,
  folder: VaultFolder,
  openers: StoreOpeners,
): Promise<Storage> {
  const storage = await openers.openExternal(wanted);
  try {
    const state = (await readState(storage))?.state;
    const name = storeName(wanted);
    switch (state?.state) {
      case "copying":
        throw halfCopied(name, state.from, state.at);
      case "restoring":
        throw halfRestored(name);
      case "moved":
        throw moved(state.to, state.at);
      case "switching":
        if (!(await isHalfIncoming(state, folder, openers.openFolder))) throw moved(state.to, state.at);
        break;
      case "active":
      case "leaving":
      case undefined:
        if (!(await holdsVault(storage))) throw nothingThere(name, folder, await readHome(folder.home));
    }
    return storage;
  } catch (reason) {
    await storage[Symbol.asyncDispose]();
    throw reason;
  }
}

/** Whether what was to come back from the store into this folder did not: then the vault is still where it was. */
async function isHalfIncoming(
  { migration }: { readonly migration: string },
  folder: VaultFolder,
  openFolder: OpenFolder,
): Promise<boolean> {
  if (!(await exists(folder.incomingStore))) return false;
  await using incoming = await openFolder(folder.incomingStore);
  const found = (await readState(incoming))?.state;
  return found?.state === "copying" && found.migration === migration;
}

function nothingThere(
  name: string,
  folder: VaultFolder,
  home: Awaited<ReturnType<typeof readHome>>,
): RksError {
  if (home === undefined) return notInitialized(folder);
  return new RksError(
    "VAULT_NOT_INITIALIZED",
    `the store at ${name} is empty; the vault of "${folder.folder}" is at ${home.store} since ${home.since}`,
    { suggestion: "Name that store in the config, or restore a backup with `rks storage restore FILE`." },
  );
}

function moved(to: string, at: string): RksError {
  return new RksError("STORAGE_MOVED", `the vault was moved to ${to} at ${at}, or was about to be`, {
    suggestion:
      "Name that store in the config (xline_config.endpoints, sql_config; neither for the vault folder).",
  });
}

function halfCopied(name: string, from: string, at: string): RksError {
  return new RksError(
    "UNAVAILABLE",
    `the store at ${name} is being filled from ${from} since ${at} and is no vault before that is done`,
    { suggestion: "Start the rks that moves its vault there, and wait for it." },
  );
}

function halfRestored(name: string): RksError {
  return new RksError("UNAVAILABLE", `a backup was being restored to ${name} and did not come to its end`, {
    suggestion: "Run `rks storage restore FILE` again.",
  });
}
