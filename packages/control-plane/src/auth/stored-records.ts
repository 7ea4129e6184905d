import { RksError } from "@rk8s/protocol";
import { type Comparison, RecordCollection, type Write } from "@rk8s/storage";

import { listFolder } from "../vault/list-folder.js";

/** Of many that change one record at the same time each round lets one through. */
const MAX_ATTEMPTS = 256;

/** What becomes of a record, and what is written with it or not at all. */
export interface RecordChange<T> {
  /** Undefined: it stays; null: it goes. */
  readonly record?: T | null;
  readonly comparisons?: readonly Comparison[];
  readonly writes?: readonly Write[];
}

/** Records of a login method, which many may change at the same time. */
export class StoredRecords<T extends object> extends RecordCollection<T> {
  /** The names right below the prefix and `under`, in order. */
  async names(under = ""): Promise<readonly string[]> {
    return listFolder(this.storage, this.prefix + under);
  }

  /**
   * Change a record in one transaction. `decide` is asked again, with what the record has become, when somebody else was
   * faster; what it throws ends the change.
   * @throws {RksError} CONFLICT when others are faster again and again.
   */
  async change(
    name: string,
    decide: (stored: T | undefined) => RecordChange<T> | Promise<RecordChange<T>>,
  ): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const stored = await this.read(name);
      const { record, comparisons = [], writes = [] } = await decide(stored?.record);
      if (record === undefined) return;
      const own = record === null ? this.delete(name) : this.put(name, record);
      const { succeeded } = await this.storage.transaction(
        [this.unchanged(name, stored), ...comparisons],
        [own, ...writes],
      );
      if (succeeded) return;
    }
    throw new RksError("CONFLICT", `"${name.slice(0, 80)}" is being changed by many at this moment`, {
      suggestion: "Try again.",
    });
  }
}
