import { RksError } from "@rk8s/protocol";
import type { Member } from "./places.js";

/** What a store says of itself, below the barrier: with it changes whether the vault is there. */
export const STORE_STATE_KEY = "storage/state";

/** The refusal of what only the one process may do that has the store open: CONFLICT, which names the others. */
export function storeInUse(by: readonly Member[], suggestion: string): RksError {
  const names = by.map(({ id, address }) =>
    address === "" ? `one that serves nobody yet (${id})` : address,
  );
  return new RksError("CONFLICT", `another rks has the store open: ${names.join(", ")}`, { suggestion });
}
