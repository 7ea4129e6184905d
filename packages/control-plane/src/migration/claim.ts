import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import {
  isAuthentic,
  readState,
  SEAL_PREFIX,
  type StoredState,
  type StoreStateOf,
  stateWrite,
} from "../store/store-state.js";
import type { StoreGuard } from "../vault/vault.js";
import { ClaimedStore } from "./claimed-store.js";

export interface ClaimInit {
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
 * @throws {RksError} STORAGE_FOREIGN when it holds anything else; CONFLICT when somebody else takes it at this moment.
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
 * @throws {RksError} STORAGE_FOREIGN
 */
export async function assertClaimable(
  target: Storage,
  init: Omit<ClaimInit, "state">,
): Promise<StoredState | undefined> {
  const stored = await readState(target);
  if (stored !== undefined) assertOwnRemains(stored, init);
  else if ((await target.list("", { limit: 1 })).entries.length > 0) throw foreign(init.to, "something else");
  return stored;
}

function assertOwnRemains(stored: StoredState, { vault, guard, cameBy, to }: Omit<ClaimInit, "state">): void {
  const { state } = stored;
  const isOwn = state.vault === vault && isAuthentic(stored, guard);
  if (!isOwn) throw foreign(to, "another cluster");
  if (state.state === "copying" || state.state === "moved") return;
  if (state.state === "switching" && state.migration === cameBy) return;
  throw foreign(to, `this cluster, as it was moved there at ${state.at}`);
}

function foreign(to: string, what: string): RksError {
  return new RksError("STORAGE_FOREIGN", `the store at ${to} holds ${what} already`, {
    suggestion: "Choose another prefix or database, or empty this one when nobody needs what it holds.",
  });
}
