import { type ErrorCode, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { ExternalStoreConfig, StoreConfig } from "../config/config.js";
import { exists } from "../lifecycle/durable-file.js";
import { notInitialized } from "../lifecycle/initialize.js";
import type { VaultFolder } from "../lifecycle/vault-folder.js";
import { readHome } from "./home-file.js";
import { archiveStore, finishIncoming, type OpenFolder } from "./local-store.js";
import { settleSwitch, type Stayed } from "./settle-switch.js";
import type { StoreCredentials } from "./store-credentials.js";
import { storeName } from "./store-name.js";
import { holdsVault, readState, type StoreState, type StoreStateOf } from "./store-state.js";

/** A member of an external store that does not answer to credentials, and why. */
export interface StoreMemberBehind {
  readonly endpoint: string;
  readonly code: ErrorCode;
}

/** When the certificate that a member of an external store shows begins and ends; milliseconds. */
export interface StoreMemberCertificate {
  readonly endpoint: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** How the members of the external stores that are open took credentials. */
export interface StoreTrial {
  /** How many were tried: those with TLS. */
  readonly members: number;
  readonly behind: readonly StoreMemberBehind[];
  /** Of those that showed one that is good. */
  readonly certificates: readonly StoreMemberCertificate[];
}

/** There is no store with members that show who they are. */
export const NO_MEMBERS: StoreTrial = { members: 0, behind: [], certificates: [] };

export interface StoreOpeners {
  readonly openFolder: OpenFolder;
  /** @throws {RksError} CONFIG_INVALID, UNAVAILABLE, and what else the store says. */
  readonly openExternal: (store: ExternalStoreConfig) => Promise<Storage>;
  /** Show what is in the vault folder now to the external stores that are open. @throws {RksError} CONFIG_INVALID. */
  readonly useCredentials: () => Promise<void>;
  /**
   * Try the members of the external stores that are open with credentials, which are made when there are such members and
   * wiped afterwards; nothing changes. @throws {RksError} CONFIG_INVALID, CERTIFICATE_EXPIRED, and what `make` throws.
   */
  readonly tryCredentials: (make: () => Promise<StoreCredentials>) => Promise<StoreTrial>;
  /** The addresses at which an open external store is used now, learnt ones too; none of what has no members. */
  readonly membersOf: (storage: Storage) => readonly string[];
}

/** The store that a vault is in. */
export interface ChosenStore {
  readonly storage: Storage;
  readonly at: StoreConfig;
  /** Where the config wants it; undefined: it is there. */
  readonly moveTo: StoreConfig | undefined;
  /** That it was being switched away from when its process was killed, and stayed. */
  readonly stayed: Stayed | undefined;
}

/**
 * Open the store that holds the vault of a config. A vault that is still in its folder while the config names another store
 * is opened there, to be moved. Of two stores, one of which was left, it finds the one that counts, whenever the process that
 * moved it was killed. The caller holds the folder's lock.
 * @throws {RksError} VAULT_NOT_INITIALIZED; STORAGE_MOVED when the config names the store that was left; STORAGE_FOREIGN when it
 * names another vault's; UNAVAILABLE when the store that decides does not answer, or is being filled; and as opening a store does.
 */
export async function chooseStore(
  wanted: StoreConfig,
  folder: VaultFolder,
  openers: StoreOpeners,
  now: number,
): Promise<ChosenStore> {
  await finishIncoming(folder, openers.openFolder, now);
  const local = await openLocal(folder, openers.openFolder);
  if (local === undefined && wanted.type === "local") throw await notHere(folder);
  try {
    const found = local && (await findLocal(local.state, wanted, openers));
    if (local !== undefined && found?.isHere === true) {
      const moveTo = wanted.type === "local" ? undefined : wanted;
      return { storage: local.storage, at: { type: "local" }, moveTo, stayed: found.stayed };
    }
  } catch (reason) {
    await local?.storage[Symbol.asyncDispose]();
    throw reason;
  }
  if (wanted.type === "local") throw await notHere(folder);
  await local?.storage[Symbol.asyncDispose]();
  const found = await externalVault(wanted, folder, openers, local?.state);
  try {
    if (local !== undefined) await archiveStore(folder, now);
  } catch (reason) {
    await found.storage[Symbol.asyncDispose]();
    throw reason;
  }
  return { ...found, at: wanted, moveTo: undefined };
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

async function notHere(folder: VaultFolder): Promise<RksError> {
  const home = await readHome(folder.home);
  return home === undefined ? notInitialized(folder) : moved(home.store, home.since);
}

/** Whether the vault is still in its folder. @throws {RksError} STORAGE_MOVED when it is not and the config says so. */
async function findLocal(
  state: StoreState | undefined,
  wanted: StoreConfig,
  openers: StoreOpeners,
): Promise<{ readonly isHere: boolean; readonly stayed: Stayed | undefined }> {
  if (state?.state === "restoring") throw halfRestored(storeName({ type: "local" }));
  if (state?.state === "moved" && wanted.type === "local") throw moved(state.to, state.at);
  if (state?.state === "moved") return { isHere: false, stayed: undefined };
  if (state?.state !== "switching") return { isHere: true, stayed: undefined };
  // Killed in the moment of the switch: the other store knows. It may have other addresses by now, or a URL in a file.
  const named = wanted.type === "local" ? [] : [wanted];
  const stayed = await settleSwitch(state, [...placesOf(state), ...named], openers);
  if (stayed === undefined && wanted.type === "local") throw moved(state.to, state.at);
  return { isHere: stayed !== undefined, stayed };
}

function placesOf({ place }: StoreStateOf<"switching">): readonly ExternalStoreConfig[] {
  return place === undefined ? [] : [place];
}

/** `left`: what the store in the folder says of itself, when there is one. */
async function externalVault(
  wanted: ExternalStoreConfig,
  folder: VaultFolder,
  openers: StoreOpeners,
  left: StoreState | undefined,
): Promise<Pick<ChosenStore, "storage" | "stayed">> {
  const storage = await openers.openExternal(wanted);
  let stayed: Stayed | undefined;
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
        stayed =
          (await halfIncoming(state, folder, openers.openFolder)) ??
          (await settleSwitch(state, placesOf(state), openers));
        if (stayed === undefined) throw moved(state.to, state.at);
        break;
      case "active":
      case "leaving":
      case undefined:
        if (!(await holdsVault(storage))) throw nothingThere(name, folder, await readHome(folder.home));
    }
    if (left !== undefined && state?.vault !== left.vault) throw anotherVault(name, folder);
    return { storage, stayed };
  } catch (reason) {
    await storage[Symbol.asyncDispose]();
    throw reason;
  }
}

/** What was to come back from the store into this folder did not: then the vault is still where it was. */
async function halfIncoming(
  { migration }: StoreStateOf<"switching">,
  folder: VaultFolder,
  openFolder: OpenFolder,
): Promise<Stayed | undefined> {
  if (!(await exists(folder.incomingStore))) return undefined;
  await using incoming = await openFolder(folder.incomingStore);
  const evidence = await readState(incoming);
  const isHalf = evidence?.state.state === "copying" && evidence.state.migration === migration;
  return isHalf ? { migration, evidence } : undefined;
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

/** What the vault folder holds is not to be put aside for it. */
function anotherVault(name: string, { folder, store }: VaultFolder): RksError {
  return new RksError("STORAGE_FOREIGN", `the store at ${name} holds another vault than "${folder}" held`, {
    suggestion: `Name the store that the vault was moved to, or move ${store} away when nobody needs it.`,
  });
}

/** That a config names a store which was left. */
export function moved(to: string, at: string): RksError {
  return new RksError("STORAGE_MOVED", `the vault was moved to ${to} at ${at}`, {
    suggestion:
      "Name that store in the config (xline_config.endpoints, sql_config; neither for the vault folder), then start rks.",
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
