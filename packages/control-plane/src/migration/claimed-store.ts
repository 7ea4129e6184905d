import { RksError } from "@rk8s/protocol";
import { pagesOf, type Storage, type TransactionResult, type Write } from "@rk8s/storage";
import { sameState, type StoredState } from "../store/store-state.js";
import { STORE_STATE_KEY } from "../vault/members/in-use.js";
import { inTransactions, RANGE_ENTRIES } from "./key-range.js";

export interface TakingInit {
  /** The store, for people. */
  readonly name: string;
  /** What it says of itself until now; undefined: nothing, and then nothing is in it. */
  readonly stored: Pick<StoredState, "modRevision"> | undefined;
  /** What it is to say. */
  readonly state: Write;
}

/**
 * A store that is being filled by whoever has taken it last. Every transaction compares the state that it was taken with: one
 * that stood still, and was overtaken meanwhile, changes nothing any more.
 */
export class ClaimedStore {
  /** For reading. */
  readonly storage: Storage;
  readonly name: string;
  /** Whether nothing was in it. */
  readonly wasEmpty: boolean;
  readonly #claim: Pick<StoredState, "modRevision">;

  private constructor(
    storage: Storage,
    { name, stored }: TakingInit,
    claim: Pick<StoredState, "modRevision">,
  ) {
    this.storage = storage;
    this.name = name;
    this.wasEmpty = stored === undefined;
    this.#claim = claim;
  }

  /** Write the state. @throws {RksError} CONFLICT when somebody else has changed it meanwhile. */
  static async take(storage: Storage, init: TakingInit): Promise<ClaimedStore> {
    const { succeeded, revision } = await storage.transaction([sameState(init.stored)], [init.state]);
    if (!succeeded) throw takenByOther(init.name);
    return new ClaimedStore(storage, init, { modRevision: revision });
  }

  /** One transaction; it does not succeed, and writes nothing, when somebody else has taken the store. */
  transaction(writes: readonly Write[]): Promise<TransactionResult> {
    return this.storage.transaction([sameState(this.#claim)], writes);
  }

  /** In as few transactions as they fit into. @throws {RksError} CONFLICT when somebody else has taken the store. */
  async write(writes: readonly Write[]): Promise<void> {
    for (const batch of inTransactions(writes)) {
      if (!(await this.transaction(batch)).succeeded) throw takenByOther(this.name);
    }
  }

  /** Delete everything under a prefix, but for what the store says of itself. @throws {RksError} as `write`. */
  async clear(prefix: string): Promise<void> {
    for await (const entries of pagesOf(this.storage, prefix, { limit: RANGE_ENTRIES })) {
      const keys = entries.map(({ key }) => key).filter((key) => key !== STORE_STATE_KEY);
      await this.write(keys.map((key): Write => ({ type: "delete", key })));
    }
  }
}

/** CONFLICT: whoever has taken a store that is being filled, it is not this process any more. */
export function takenByOther(name: string): RksError {
  return new RksError("CONFLICT", `somebody else writes to the store at ${name}`, {
    suggestion: "Let only one rks move or restore a vault there.",
  });
}
