import { setTimeout as sleep } from "node:timers/promises";
import type { Storage } from "@rk8s/storage";
import { expect } from "vitest";

/** How long a watch may lag behind the last write. */
const LAG_MS = 10_000;

/** What was written to each key, in order. */
type Values = ReadonlyMap<string, readonly number[]>;

/** Writers that each count up a key of their own by compare and swap, one transaction after the other, and one watch. */
export class StoreLoad {
  /** Writes that were acknowledged. */
  count = 0;
  /** Between two acknowledged writes of any writer. */
  longestGapMs = 0;
  readonly #stores: readonly Storage[];
  readonly #acknowledged = new Map<string, number[]>();
  readonly #seen = new Map<string, number[]>();
  readonly #abort = new AbortController();
  readonly #watch = new AbortController();
  #watching: Promise<void> = Promise.resolve();
  #seenCount = 0;
  #lastMs = 0;

  /** @param stores clients of one store; the first one watches too. */
  constructor(stores: readonly Storage[]) {
    this.#stores = stores;
  }

  /** Resolves after `stop`; rejects when a write fails or loses to somebody who does not exist. */
  async run(): Promise<void> {
    this.#watching = this.#collect((await this.#first.list("")).revision + 1);
    this.#lastMs = performance.now();
    await Promise.all(
      this.#stores.flatMap((store, index) => [
        this.#write(store, `w/${index}/a`),
        this.#write(store, `w/${index}/b`),
      ]),
    );
  }

  stop(): void {
    this.#abort.abort();
  }

  /** Resolves when so many writes were acknowledged. */
  async acknowledged(count: number): Promise<void> {
    while (this.count < count && !this.#abort.signal.aborted) await sleep(10);
  }

  /** What was acknowledged, what the watch has seen and what is stored; after `run` has resolved. */
  async outcome(): Promise<{
    readonly acknowledged: Values;
    readonly seen: Values;
    readonly stored: ReadonlyMap<string, number>;
  }> {
    const end = performance.now() + LAG_MS;
    while (this.#seenCount < this.count && performance.now() < end) await sleep(10);
    this.#watch.abort();
    await this.#watching;
    const { entries } = await this.#first.list("w/");
    const stored = new Map(entries.map(({ key, value }) => [key, number(value)]));
    return { acknowledged: this.#acknowledged, seen: this.#seen, stored };
  }

  get #first(): Storage {
    const [first] = this.#stores;
    if (first === undefined) throw new TypeError("a load needs a store");
    return first;
  }

  async #collect(fromRevision: number): Promise<void> {
    for await (const { key, value } of this.#first.watch("w/", fromRevision, {
      signal: this.#watch.signal,
    })) {
      note(this.#seen, key, number(value));
      this.#seenCount += 1;
    }
  }

  async #write(store: Storage, key: string): Promise<void> {
    let modRevision = 0;
    for (let value = 1; !this.#abort.signal.aborted; value += 1) {
      const write = { type: "put", key, value: Buffer.from(String(value)) } as const;
      const result = await store.transaction([{ key, modRevision }], [write]);
      if (!result.succeeded) throw new Error(`nobody else writes ${key}, and yet the comparison failed`);
      modRevision = result.revision;
      note(this.#acknowledged, key, value);
      this.count += 1;
      const now = performance.now();
      this.longestGapMs = Math.max(this.longestGapMs, now - this.#lastMs);
      this.#lastMs = now;
    }
  }
}

/** Every acknowledged write came by in the watch, once and in the order of its key, and nothing else did. */
export async function expectNothingLost(load: StoreLoad): Promise<void> {
  const { acknowledged, seen, stored } = await load.outcome();
  expect(seen.size).toBeGreaterThan(0);
  expect(seen).toEqual(acknowledged);
  for (const [key, values] of acknowledged) expect(stored.get(key)).toBe(values.at(-1));
}

function note(values: Map<string, number[]>, key: string, value: number): void {
  const ofKey = values.get(key);
  if (ofKey === undefined) values.set(key, [value]);
  else ofKey.push(value);
}

function number(value: Uint8Array | undefined): number {
  return Number(Buffer.from(value ?? []).toString());
}
