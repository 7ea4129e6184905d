import { setImmediate as nextTurn } from "node:timers/promises";
import { LinkedAbort } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { addTotals, type DigestTotal, EMPTY_TOTAL, type StoreDigest } from "../store/store-digest.js";
import type { ClaimedStore } from "./claimed-store.js";
import { differences, type KeyRange, newRange, RANGE_ENTRIES, rangeOf, readRange } from "./key-range.js";

/** Ranges that are worked on at the same time: enough for a store whose every answer takes a disk or a network. */
const WINDOW = 8;
/** So few ranges are compared while nothing is written: some tens of milliseconds. */
const FEW_RANGES = 8;
/** Rounds after which the writes do not become fewer any more. */
const MAX_ROUNDS = 64;

export interface StoreCopyInit {
  /** Read while it is written to. */
  readonly source: Storage;
  /** Nobody else writes to it while it is claimed. */
  readonly target: ClaimedStore;
  readonly digest: StoreDigest;
}

/** How far a copy is. */
export interface CopyProgress {
  /** Entries of the source that were found so far. */
  readonly entries: number;
  /** Parts that the entries were put into, and how many of them are the same in both. */
  readonly parts: number;
  readonly verified: number;
}

/**
 * Makes the contents (`isContent`) of one store the same as another's while that is written to. The keys are cut into ranges; a
 * range is compared entry by entry, what differs is written, and it is compared again until nothing differs. Whatever is written
 * to the source meanwhile (`touched`) makes its range count as different. It can therefore begin with any state of the target,
 * such as half a copy.
 */
export class StoreCopy {
  readonly #init: StoreCopyInit;
  readonly #ranges: KeyRange[] = [];
  /** Until where the source was cut into ranges. */
  #cut = "";
  #entries = 0;

  constructor(init: StoreCopyInit) {
    this.#init = init;
  }

  get progress(): CopyProgress {
    const parts = this.#ranges.length;
    return { entries: this.#entries, parts, verified: parts - this.#open().length };
  }

  /** These keys of the source may have changed. To be called when their transaction is over. */
  touched(keys: readonly string[]): void {
    for (const key of keys) {
      const range = rangeOf(this.#ranges, key);
      // What comes after the last range is read later.
      if (range !== undefined) range.isDirty = true;
    }
  }

  /**
   * Copy everything, then what was written meanwhile, and so on until few ranges are left. Writes go on.
   * @throws the signal's reason; {RksError} CONFLICT when somebody else has taken the target, and as the stores do.
   */
  async catchUp(signal: AbortSignal): Promise<void> {
    // What was empty is not read once more to see that.
    const { wasEmpty: isTargetEmpty } = this.#init.target;
    await this.#each(this.#cutIntoRanges(), (range) => this.#align(range, { isTargetEmpty }), signal);
    let before = Infinity;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const open = this.#open();
      if (open.length <= FEW_RANGES || (round > 8 && open.length >= before)) return;
      before = open.length;
      await this.#each(open, (range) => this.#align(range), signal);
    }
  }

  /**
   * Copy the rest, while nothing is written to the source. Gives what source and target both hold.
   * @throws as `catchUp`.
   */
  async finish(signal: AbortSignal): Promise<DigestTotal> {
    for (let open = this.#open(); open.length > 0; open = this.#open()) {
      await this.#each(open, (range) => this.#align(range), signal);
    }
    return this.#ranges.reduce((sum, { total }) => addTotals(sum, total), EMPTY_TOTAL);
  }

  #open(): readonly KeyRange[] {
    return this.#ranges.filter(({ isDirty }) => isDirty);
  }

  async *#cutIntoRanges(): AsyncGenerator<KeyRange, void, void> {
    for (let more = true; more;) {
      const page = await this.#init.source.list("", { after: this.#cut, limit: RANGE_ENTRIES });
      ({ more } = page);
      const upTo = more ? page.entries.at(-1)?.key : undefined;
      const range = newRange(this.#cut, upTo, true);
      this.#ranges.push(range);
      this.#cut = upTo ?? this.#cut;
      this.#entries += page.entries.length;
      yield range;
    }
  }

  /** Compare a range and write what differs; written ranges are compared again later. */
  async #align(range: KeyRange, known: { readonly isTargetEmpty?: boolean } = {}): Promise<void> {
    const { source, target, digest } = this.#init;
    range.isDirty = false;
    try {
      // The order matters not: nobody else writes to the target, and what is written to the source is told.
      const [ours, theirs] = await Promise.all([
        readRange(source, range),
        known.isTargetEmpty === true ? [] : readRange(target.storage, range),
      ]);
      const writes = differences(ours, theirs);
      if (writes.length === 0) range.total = digest.total(ours);
      else range.isDirty = true;
      await target.write(writes);
    } catch (reason) {
      range.isDirty = true;
      throw reason;
    }
  }

  /** A few at a time, with a turn of the event loop between them; the first failure ends it. */
  async #each(
    ranges: Iterable<KeyRange> | AsyncIterable<KeyRange>,
    work: (range: KeyRange) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const running = new Set<Promise<void>>();
    using failed = new LinkedAbort(signal);
    const { signal: either } = failed;
    for await (const range of ranges) {
      if (either.aborted) break;
      const one = work(range)
        .catch((reason: unknown) => failed.abort(reason))
        .finally(() => running.delete(one));
      running.add(one);
      if (running.size >= WINDOW) await Promise.race(running);
      await nextTurn();
    }
    await Promise.all(running);
    either.throwIfAborted();
  }
}
