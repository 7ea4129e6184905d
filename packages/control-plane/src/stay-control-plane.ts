import { socketAnswers, systemClock } from "@rk8s/host";
import { type Clock, type Logger, RksError, type Secret, silentLogger } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { keySourceOf, openVaultKeys } from "./backup/open-vault-keys.js";
import type { ControlPlaneConfig, StoreConfig } from "./config/config.js";
import { Disposables } from "./lifecycle/disposables.js";
import { exists } from "./lifecycle/durable-file.js";
import { lockFolder } from "./lifecycle/folder-lock.js";
import { type VaultFolder, vaultFolderAt } from "./lifecycle/vault-folder.js";
import { chooseStore, type StoreOpeners } from "./store/choose-store.js";
import { homeAt, readHome, writeHome } from "./store/home-file.js";
import { storeOpeners } from "./store/open-store.js";
import { storeName } from "./store/store-name.js";
import {
  isAuthentic,
  readState,
  sameState,
  type StoredState,
  type StoreStateOf,
  stateWrite,
  untrueState,
} from "./store/store-state.js";
import { storeInUse } from "./vault/members/in-use.js";
import { expelSilent } from "./vault/members/places.js";
import { advancedCounter, SEQUENCE_PREFIX } from "./vault/seal/barrier.js";

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

interface Undecided {
  readonly storage: Storage;
  readonly stored: StoredState;
  readonly state: StoreStateOf<"switching">;
}

/**
 * Keep the vault in the store of the config after a switch to another one was cut off: what `rks storage stay` does. Where the
 * other store can be asked, that decides as at a start, and nothing is given up. Where it is lost, it may have been the vault for
 * a while: the one that is kept goes on as after a restore, in a new epoch, so that this host never serves the other one again;
 * open join tokens are voided and an audit record is written by the next start.
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
  const store = storeName(config.store);
  await using owned = new Disposables({ logger });
  owned.use(await lockFolder(folder.lock, { answers: () => socketAnswers(folder.socket) }));
  const openers = ports.stores ?? storeOpeners(folder, { clock, logger });
  let undecided: Undecided;
  try {
    const { storage } = await chooseStore(config.store, folder, openers, clock.now());
    await storage[Symbol.asyncDispose]();
    return { store, gaveUp: null };
  } catch (reason) {
    if (!isOtherLost || RksError.from(reason).code !== "UNAVAILABLE") throw reason;
    const found = await findUndecided(config.store, folder, openers);
    if (found === undefined) throw reason;
    owned.use(found.storage);
    undecided = found;
  }
  const { state } = undecided;
  const seen = await readHome(folder.home);
  const epoch = Math.max(state.epoch, seen?.vault === state.vault ? seen.epoch : 0) + 1;
  const at = new Date(clock.now()).toISOString();
  await giveUp(undecided, { shares, clock }, { epoch, at, adoptsNodes: adoptNodes });
  // Before the first start, which may be one that names the other store.
  await writeHome(folder.home, homeAt(config.store, { vault: state.vault, epoch }, clock.now()));
  return { store, gaveUp: { store: state.to, since: state.at, epoch } };
}

async function findUndecided(
  at: StoreConfig,
  folder: VaultFolder,
  openers: StoreOpeners,
): Promise<Undecided | undefined> {
  if (at.type === "local" && !(await exists(folder.store))) return undefined;
  const storage = await (at.type === "local" ? openers.openFolder(folder.store) : openers.openExternal(at));
  const stored = await readState(storage);
  if (stored?.state.state === "switching") return { storage, stored, state: stored.state };
  await storage[Symbol.asyncDispose]();
  return undefined;
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
  const keys = await openVaultKeys(storage, shares);
  try {
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
  } finally {
    keys.rootKey.fill(0);
    keys.keyring.zero();
  }
}
