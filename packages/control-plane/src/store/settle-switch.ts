import { RksError } from "@rk8s/protocol";
import { type Storage, untilCommitted } from "@rk8s/storage";
import type { ExternalStoreConfig } from "../config/config.js";
import type { StoreOpeners } from "./choose-store.js";
import {
  readState,
  standingOf,
  type StoredState,
  type StoreState,
  type StoreStateOf,
  writeAgain,
} from "./store-state.js";

/** What a store that says `switching` asks the other one, which decides. */
type Switching = StoreStateOf<"switching">;

/** That a vault did not go to the other store, and cannot any more by that migration. */
export interface Stayed {
  readonly migration: string;
  /** What the other store said of itself; it is true when the vault's keys say so. */
  readonly evidence: StoredState;
}

/**
 * A process was killed in the moment of the switch: ask the other store, the first of `candidates` that knows the migration,
 * whether it became the vault. Undefined: it did. A store that did not is written to, so that what the killed process sent last,
 * or one that is still alive sends, is not done any more.
 * @throws {RksError} UNAVAILABLE when none of them answers, or none knows.
 */
export async function settleSwitch(
  state: Switching,
  candidates: readonly ExternalStoreConfig[],
  { openExternal }: Pick<StoreOpeners, "openExternal">,
): Promise<Stayed | undefined> {
  let cause: unknown;
  for (const candidate of candidates) {
    try {
      await using target = await openExternal(candidate);
      const answer = await ask(target, state);
      if (answer !== "does not know") return answer === "is the vault" ? undefined : answer;
    } catch (reason) {
      cause ??= reason;
    }
  }
  throw undecided(state, cause);
}

async function ask(
  target: Storage,
  switching: Switching,
): Promise<Stayed | "is the vault" | "does not know"> {
  const { vault, migration, to } = switching;
  return untilCommitted(`the store at ${to} is changing at this moment`, async () => {
    const found = await readState(target);
    if (found?.state.vault !== vault) return "does not know";
    const { state } = found;
    if (state.state === "restoring") return "does not know";
    // Otherwise it tells of a time before the switch.
    if (state.state !== "copying") return hasGoneOn(state, switching) ? "is the vault" : "does not know";
    // Filled by a later migration it may have been the vault in between.
    if (state.migration !== migration) return "does not know";
    return (await writeAgain(target, found)) ? { migration, evidence: found } : undefined;
  });
}

/** Whether the vault was in that store after it had been where the switch began. */
function hasGoneOn(there: StoreState, here: Switching): boolean {
  if (there.state === "active" && there.migration === here.migration) return true;
  const [to, from] = [standingOf(there), standingOf(here)];
  return to.epoch === from.epoch ? to.moves > from.moves : to.epoch > from.epoch;
}

function undecided({ to, at }: Switching, cause: unknown): RksError {
  const why = cause === undefined ? "cannot be asked from here" : `says: ${RksError.from(cause).message}`;
  return new RksError(
    "UNAVAILABLE",
    `the vault was being moved to ${to} at ${at}; whether it is there only that store knows, which ${why}`,
    {
      cause,
      suggestion:
        "Bring that store back, or name it in the config; if it is lost for ever, name the one that is left and run `rks storage stay --other-is-lost`.",
    },
  );
}
