import { type Clock, utf8 } from "@rk8s/protocol";
import type { Comparison, Storage } from "@rk8s/storage";
import { MEMBER_TTL_MS, readPlaces, type TakenPlace } from "./places.js";

/** Whoever is alive has renewed its place in this time. */
const RENEWED_MS = MEMBER_TTL_MS / 3 + 500;

export interface PredecessorsPorts {
  readonly storage: Storage;
  readonly clock: Clock;
}

/** Processes of the same host that had the store open when this one came: dead ones, or a copy of the vault folder. */
export class Predecessors {
  readonly #ports: PredecessorsPorts;
  readonly #seenMs: number;
  #all: readonly TakenPlace[];

  private constructor(all: readonly TakenPlace[], ports: PredecessorsPorts) {
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
    const places = await readPlaces(ports.storage);
    const all = places.filter((place) => place.id !== self && place.host === host);
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
