import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import {
  holdsVault,
  isAuthentic,
  readState,
  SEAL_PREFIX,
  type StoredState,
  type StoreStateOf,
  stateWrite,
} from "../store/store-state.js";
import { SEAL_CONFIG_KEY } from "../vault/seal/seal.js";
import { STORE_STATE_KEY } from "../vault/members/in-use.js";
import type { StoreGuard } from "../vault/vault.js";
import { ClaimedStore } from "./claimed-store.js";

const EMPTY_IT = "Choose another prefix or database, or empty this one when nobody needs what it holds.";
const NAME_IT =
  "Choose another prefix or database, or name that store in the config if the vault is there now.";

export interface ClaimInit {
  /** Where the vault is now. */
  readonly source: Pick<Storage, "get">;
  readonly state: StoreStateOf<"copying">;
  readonly vault: string;
  readonly guard: StoreGuard;
  /** The migration by which the vault came to where it is now: what it left then may be taken again. */
  readonly cameBy: string | undefined;
  /** The target, for people. */
  readonly to: string;
}

/**
 * Take a store as the target of a copy: an empty one, half a copy of this vault, or what this vault has left before. From
 * then on it is no vault.
 * @throws {RksError} ALREADY_EXISTS when the vault is in it; STORAGE_FOREIGN when it holds anything else; CONFLICT when
 * somebody else takes it at this moment.
 */
export async function claimTarget(target: Storage, init: ClaimInit): Promise<ClaimedStore> {
  const stored = await assertClaimable(target, init);
  const state = stateWrite(init.state, init.guard);
  const claimed = await ClaimedStore.take(target, { name: init.to, stored, state });
  // Who had it open before has no number there any more, and whoever opens it finds no seal.
  await claimed.clear(SEAL_PREFIX);
  return claimed;
}

/**
 * Check that `claimTarget` could take the store. Gives its state.
 * @throws {RksError} ALREADY_EXISTS, STORAGE_FOREIGN
 */
export async function assertClaimable(
  target: Storage,
  init: Omit<ClaimInit, "state">,
): Promise<StoredState | undefined> {
  const stored = await readState(target);
  if (await isSameStore(init.source, target)) throw vaultIsThere(init.to);
  if (stored !== undefined) assertOwnRemains(stored, init);
  else if ((await target.list("", { limit: 1 })).entries.length > 0)
    throw foreign(init.to, "something else", EMPTY_IT);
  return stored;
}

/** Addresses do not tell, what is stored does: no other vault has this seal, and a store that was left says so. */
async function isSameStore(source: ClaimInit["source"], target: ClaimInit["source"]): Promise<boolean> {
  if (!(await holdsVault(target))) return false;
  for (const key of [SEAL_CONFIG_KEY, STORE_STATE_KEY]) {
    const [ours, theirs] = await Promise.all([source.get(key), target.get(key)]);
    if (!Buffer.from(ours?.value ?? []).equals(theirs?.value ?? Buffer.of())) return false;
  }
  return true;
}

function assertOwnRemains(
  stored: StoredState,
  { vault, guard, cameBy, to }: Pick<ClaimInit, "vault" | "guard" | "cameBy" | "to">,
): void {
  const { state } = stored;
  const isOwn = state.vault === vault && isAuthentic(stored, guard);
  if (!isOwn) throw foreign(to, "another cluster", EMPTY_IT);
  if (state.state === "copying" || state.state === "moved") return;
  if (state.state === "switching" && state.migration === cameBy) return;
  throw foreign(to, `this cluster, as it was moved there at ${state.at},`, NAME_IT);
}

function foreign(to: string, what: string, suggestion: string): RksError {
  return new RksError("STORAGE_FOREIGN", `the store at ${to} holds ${what} already`, { suggestion });
}

function vaultIsThere(to: string): RksError {
  return new RksError("ALREADY_EXISTS", `the vault is in the store at ${to} already`, {
    suggestion: "Nothing is to be done: it is the same store under another name.",
  });
}
