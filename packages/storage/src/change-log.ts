import { Bell } from "@rk8s/protocol";
import type { RksError } from "@rk8s/protocol";

import { forgotten } from "./storage-errors.js";
import type { Change } from "./storage.js";

/** How many changes are remembered for watchers that are behind. */
const MAX_CHANGES = 4096;
/** And how many bytes of values. */
const MAX_BYTES = 2 * 1024 * 1024;

/**
 * The latest changes of a store, in memory, for the watchers of an embedded adapter. It begins when the store is
 * opened; what falls out at its far end is lost for a watcher that had not read it, and that watcher is told.
 */
export class ChangeLog {
  /** Changes with a position from `#first` on; a position never changes. */
  #changes: Change[] = [];
  #first = 0;
  #bytes = 0;
  /** Every change with a revision above this one is still here. */
  #forgotten: number;
  readonly #bell = new Bell();
  #closed: RksError | undefined;

  /** @param revision of the store when it was opened. */
  constructor(revision: number) {
    this.#forgotten = revision;
  }

  /** Add the changes of one transaction, all with the same revision, and wake the watchers. */
  append(changes: readonly Change[]): void {
    for (const change of changes) {
      this.#changes.push(change);
      this.#bytes += change.value?.byteLength ?? 0;
    }
    this.#forget();
    this.#bell.ring();
  }

  /** End every watch with `reason`; later ones fail with it too. */
  close(reason: RksError): void {
    this.#closed ??= reason;
    this.#bell.ring();
  }

  /** As `Storage.watch`. */
  async *watch(
    prefix: string,
    fromRevision: number,
    signal: AbortSignal,
  ): AsyncGenerator<Change, void, void> {
    if (fromRevision <= this.#forgotten) throw forgotten(fromRevision);
    let position = this.#first;
    while (!signal.aborted) {
      if (this.#closed !== undefined) throw this.#closed;
      if (position < this.#first) throw forgotten(fromRevision);
      const change = this.#changes[position - this.#first];
      if (change === undefined) {
        await this.#bell.wait(signal);
        continue;
      }
      position += 1;
      if (change.revision >= fromRevision && change.key.startsWith(prefix)) yield change;
    }
  }

  /** Drop whole transactions from the far end until the bounds hold; in steps, because moving an array costs. */
  #forget(): void {
    if (this.#changes.length <= MAX_CHANGES && this.#bytes <= MAX_BYTES) return;
    let count = 0;
    while (count < this.#changes.length) {
      const change = this.#changes[count];
      if (change === undefined) break;
      const enough = this.#changes.length - count <= MAX_CHANGES / 2 && this.#bytes <= MAX_BYTES / 2;
      if (enough && change.revision !== this.#forgotten) break;
      this.#forgotten = change.revision;
      this.#bytes -= change.value?.byteLength ?? 0;
      count += 1;
    }
    this.#changes = this.#changes.slice(count);
    this.#first += count;
  }
}
