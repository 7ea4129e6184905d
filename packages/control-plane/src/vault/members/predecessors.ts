import { type Clock, fromUtf8, utf8 } from "@rk8s/protocol";
import type { Comparison, Storage } from "@rk8s/storage";
import { isPlace, MEMBER_TTL_MS, MEMBERS_PREFIX } from "./places.js";

/** Whoever is alive has renewed its place in this time. */
const RENEWED_MS = MEMBER_TTL_MS / 3 + 500;

export interface PredecessorsPorts {
  readonly storage: Storage;
  readonly clock: Clock;
}

interface Predecessor {
  readonly id: string;
  readonly key: string;
  /** What is compared to know that it has not stirred since. */
  readonly asSeen: readonly Comparison[];
}

/** Processes of the same host that had the store open when this one came: dead ones, or a copy of the vault folder. */
export class Predecessors {
  readonly #ports: PredecessorsPorts;
  readonly #seenMs: number;
  #all: readonly Predecessor[];

  private constructor(all: readonly Predecessor[], ports: PredecessorsPorts) {
    this.#all = all;
    this.#ports = ports;
    this.#seenMs = ports.clock.monotonicMs();
  }

  /** Those that have a number now, but for `self`. Without a host there are none. */
  static async read(
    { host, self }: { readonly host: string | undefined; readonly self: string },
    ports: PredecessorsPorts,
  ): Promise<Predecessors> {
    if (host === undefined) return new Predecessors([], ports);
    const { entries } = await ports.storage.list(MEMBERS_PREFIX);
    const found = new Map(entries.map((entry) => [entry.key, entry]));
    const all = entries.flatMap(({ key, value, modRevision }) => {
      const id = fromUtf8(value);
      const announced = found.get(`${key}/address`);
      if (!isPlace(key) || id === self || announced === undefined) return [];
      const [announcedBy, , announcedHost] = fromUtf8(announced.value).split(" ");
      if (id === "" || announcedBy !== id || announcedHost !== host) return [];
      const beat = { key: `${key}/beat`, modRevision: found.get(`${key}/beat`)?.modRevision ?? 0 };
      return [{ id, key, asSeen: [{ key, modRevision }, beat] }];
    });
    return new Predecessors(all, ports);
  }

  get ids(): readonly string[] {
    return this.#all.map(({ id }) => id);
  }

  /**
   * Take the number from those that do not stir for as long as whoever lives does; who does stir keeps it. `fence` is asked for
   * when that time is over, and compared. @throws {RksError} as the storage does; what `fence` throws; the signal's reason.
   */
  async expel(fence: () => Comparison, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    if (this.#all.length === 0) return;
    const { clock, storage } = this.#ports;
    const leftMs = this.#seenMs + RENEWED_MS - clock.monotonicMs();
    if (leftMs > 0) await clock.sleep(leftMs, { signal });
    for (const { key, asSeen } of this.#all)
      await storage.transaction([fence(), ...asSeen], [{ type: "put", key, value: utf8("") }]);
    this.#all = [];
  }
}
