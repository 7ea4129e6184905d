import { socketAnswers, systemClock } from "@rk8s/host";
import { type Clock, type Logger, RksError, type Secret, silentLogger } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { keySourceOf, openVaultKeys } from "./backup/open-vault-keys.js";
import type { ControlPlaneConfig, StoreConfig } from "./config/config.js";
import { Disposables } from "./lifecycle/disposables.js";
import { exists } from "./lifecycle/durable-file.js";
import { lockFolder } from "./lifecycle/folder-lock.js";
import { type VaultFolder, vaultFolderAt } from "./lifecycle/vault-folder.js";
import { chooseStore, type ChosenStore, type StoreOpeners } from "./store/choose-store.js";
import { homeAt, readHome, writeHome } from "./store/home-file.js";
import { storeOpeners } from "./store/open-store.js";
import { storeName } from "./store/store-name.js";
import {
  isAuthentic,
  readState,
  sameState,
  type StoredState,
  type StoreState,
  type StoreStateOf,
  stateWrite,
  untrueState,
} from "./store/store-state.js";
import { storeInUse } from "./vault/members/in-use.js";
import { expelSilent } from "./vault/members/places.js";
import { advancedCounter, SEQUENCE_PREFIX } from "./vault/seal/barrier.js";
import type { VaultKeys } from "./vault/seal/seal.js";

export interface StayPorts {
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  /** How stores are opened. Default: as `createControlPlane`. */
  readonly stores?: StoreOpeners | undefined;
}

export interface StayRequest {
  /** What opens the vault, base64. */
  readonly shares: readonly Secret<string>[];
  /** The operator's word that the other store is lost for ever. */
  readonly isOtherLost: boolean;
  /** As `RestoreInit`. */
  readonly adoptNodes: boolean;
}

/** What came of it. */
export interface StayResult {
  /** Where the vault stays. */
  readonly store: string;
  /** Since when the other store may have been the vault, and which one it is; null: nothing had to be given up. */
  readonly gaveUp: { readonly store: string; readonly since: string; readonly epoch: number } | null;
}

interface Undecided extends Pick<ChosenStore, "storage" | "at"> {
  readonly stored: StoredState;
  readonly state: StoreStateOf<"switching">;
}

/**
 * Keep the vault in the store of the config after a switch to another one was cut off: what `rks storage stay` does. Where the
 * other store can be asked, that decides as at a start, and nothing is given up. Where it is lost, it may have been the vault for
 * a while: the one that is kept goes on as after a restore, in a new epoch, so that this host never serves the other one again;
 * open join tokens are voided and an audit record is written by the next start. Called again before that it says the same
 * again, whatever is asked of it, and makes up for what a killed call left undone.
 * @throws {RksError} ALREADY_RUNNING while an rks runs on the folder, CONFLICT while one does elsewhere; STORAGE_MOVED when the
 * other store is the vault; UNAVAILABLE when it does not answer and is not said to be lost; UNSEAL_KEY_INVALID, STORAGE_CORRUPT;
 * and as `chooseStore`.
 */
export async function stayControlPlane(
  config: ControlPlaneConfig,
  { shares, isOtherLost, adoptNodes }: StayRequest,
  ports: StayPorts = {},
): Promise<StayResult> {
  const { clock = systemClock, logger = silentLogger } = ports;
  const folder = vaultFolderAt(config.vaultFolder);
  await using owned = new Disposables({ logger });
  owned.use(await lockFolder(folder.lock, { answers: () => socketAnswers(folder.socket) }));
  const openers = ports.stores ?? storeOpeners(folder, { clock, logger });
  const kept = await decide(config.store, folder, openers, { isOtherLost, clock });
  owned.use(kept.storage);
  const { home } = folder;
  const seen = await readHome(home);
  const seenEpoch = (vault: string): number => (seen?.vault === vault ? seen.epoch : 0);
  /** Before the first start, which may be one that names the other store. */
  const remember = (vault: string, epoch: number): Promise<void> =>
    writeHome(home, homeAt(kept.at, { vault, epoch }, clock.now()));
  const store = storeName(kept.at);
  if (!("state" in kept)) {
    const earlier = await readEarlierStay(kept.storage, shares);
    // One that this host has seen a later epoch than is not to be served; a start says so.
    if (earlier === undefined || earlier.epoch < seenEpoch(earlier.vault)) return { store, gaveUp: null };
    const { vault, ...gaveUp } = earlier;
    if (gaveUp.epoch > seenEpoch(vault)) await remember(vault, gaveUp.epoch);
    return { store, gaveUp };
  }
  const { state } = kept;
  const epoch = Math.max(state.epoch, seenEpoch(state.vault)) + 1;
  const at = new Date(clock.now()).toISOString();
  await giveUp(kept, { shares, clock }, { epoch, at, adoptsNodes: adoptNodes });
  await remember(state.vault, epoch);
  return { store, gaveUp: { store: state.to, since: state.at, epoch } };
}

/** The store that is kept; with what it says when it is not known whether it is the vault, and never will be. */
async function decide(
  at: StoreConfig,
  folder: VaultFolder,
  openers: StoreOpeners,
  { isOtherLost, clock }: { readonly isOtherLost: boolean; readonly clock: Clock },
): Promise<Undecided | Pick<ChosenStore, "storage" | "at">> {
  try {
    const { storage, at: found } = await chooseStore(at, folder, openers, clock.now());
    return { storage, at: found };
  } catch (reason) {
    if (!isOtherLost || RksError.from(reason).code !== "UNAVAILABLE") throw reason;
    const found = await findUndecided(at, folder, openers);
    if (found === undefined) throw reason;
    return found;
  }
}

/** What an earlier call has done, while no start has followed it: it may have been killed before this host knew of it. */
async function readEarlierStay(
  storage: Storage,
  shares: readonly Secret<string>[],
): Promise<(Pick<StoreState, "vault"> & NonNullable<StayResult["gaveUp"]>) | undefined> {
  const stored = await readState(storage);
  if (stored?.state.state !== "active" || stored.state.isUnsettled !== true) return undefined;
  const { vault, epoch, gaveUp: store, restoredFrom: since } = stored.state;
  if (store === undefined || since === undefined) return undefined;
  await withVaultKeys(storage, shares, (keys) => {
    if (!isAuthentic(stored, keySourceOf(keys))) throw untrueState();
  });
  return { vault, store, since, epoch };
}

async function findUndecided(
  at: StoreConfig,
  folder: VaultFolder,
  openers: StoreOpeners,
): Promise<Undecided | undefined> {
  if (at.type === "local" && !(await exists(folder.store))) return undefined;
  const storage = await (at.type === "local" ? openers.openFolder(folder.store) : openers.openExternal(at));
  let isKept = false;
  try {
    const stored = await readState(storage);
    if (stored?.state.state !== "switching") return undefined;
    isKept = true;
    return { storage, at, stored, state: stored.state };
  } finally {
    if (!isKept) await storage[Symbol.asyncDispose]();
  }
}

/** One that runs waits for the other store itself, and goes on there when it comes back. */
async function assertNobodyElse(storage: Storage, clock: Clock): Promise<void> {
  const alive = await expelSilent(storage, clock);
  if (alive.length === 0) return;
  throw storeInUse(alive, "Stop it, then run `rks storage stay` again.");
}

async function giveUp(
  { storage, stored, state }: Undecided,
  { shares, clock }: { readonly shares: readonly Secret<string>[]; readonly clock: Clock },
  on: Pick<StoreStateOf<"active">, "epoch" | "at" | "adoptsNodes">,
): Promise<void> {
  await withVaultKeys(storage, shares, async (keys) => {
    const source = keySourceOf(keys);
    if (!isAuthentic(stored, source)) throw untrueState();
    // Only who has the keys may take a number from anybody.
    await assertNobodyElse(storage, clock);
    const counter = await storage.get(SEQUENCE_PREFIX);
    if (counter === undefined) throw untrueState();
    const { vault, at: restoredFrom, to: gaveUp } = state;
    const active: StoreStateOf<"active"> = {
      version: 1,
      vault,
      state: "active",
      restoredFrom,
      gaveUp,
      isUnsettled: true,
      ...on,
    };
    const { succeeded } = await storage.transaction(
      [sameState(stored), { key: SEQUENCE_PREFIX, modRevision: counter.modRevision }],
      [
        { type: "put", key: SEQUENCE_PREFIX, value: advancedCounter(keys.keyring, counter.value) },
        stateWrite(active, source),
      ],
    );
    if (!succeeded)
      throw new RksError("CONFLICT", "somebody else changed the store meanwhile", {
        suggestion: "Try again.",
      });
  });
}

async function withVaultKeys(
  storage: Storage,
  shares: readonly Secret<string>[],
  work: (keys: VaultKeys) => Promise<void> | void,
): Promise<void> {
  const keys = await openVaultKeys(storage, shares);
  try {
    await work(keys);
  } finally {
    keys.rootKey.fill(0);
    keys.keyring.zero();
  }
}
