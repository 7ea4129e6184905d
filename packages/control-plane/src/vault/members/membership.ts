import { randomUUID } from "node:crypto";

import { aborted, type Clock, fromUtf8, LinkedAbort, type Logger, RksError, utf8 } from "@rk8s/protocol";
import { type Comparison, Lease, type Storage, type Taking } from "@rk8s/storage";

import { MAX_WRITER, type Writer } from "../seal/barrier.js";
import {
  announcement,
  isPlace,
  type Member,
  MEMBER_TTL_MS,
  MEMBERS_PREFIX,
  readMembers,
  STEWARD_KEY,
} from "./places.js";
import { Predecessors } from "./predecessors.js";
import type { Stewardship } from "./stewardship.js";

/** How often the steward looks for members that are gone. */
const LOOK_MS = 3_000;
/** Pause between two tries to take a number while the store does not answer. */
const RETRY_MS = 1_000;
/** After the time to live: a process that stood still itself finds its store again this soon. */
const FIND_MS = 1_000;

export interface MembershipPorts {
  readonly storage: Storage;
  /** As `VaultInit`; who has the same is a process before this one that has ended, or runs on a copy of the vault folder. */
  readonly host?: string | undefined;
  /** Asked after another place was taken and before anything is written from there; see `VaultInit`. */
  readonly whyLeft?: (() => Promise<RksError | undefined>) | undefined;
  /** Called when that has an answer: this process can be a member no more. */
  readonly onLeft?: ((why: RksError) => void) | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Place {
  readonly number: number;
  readonly id: string;
  readonly lease: Lease;
}

/**
 * The processes that share a store. Each has a number under a lease while it lives; the number tells its writes from those of
 * the others, and all of them compare the lease, so that whoever was silent for too long and lost its number writes nothing
 * any more. One is the steward; who takes that from a silent one takes its number as well, in the same transaction.
 */
export class Membership implements Stewardship, AsyncDisposable {
  readonly #ports: MembershipPorts;
  readonly #closing = new AbortController();
  #hurrying = new AbortController();
  #place: Place;
  #steward: Lease;
  #others: readonly Member[] = [];
  #before: Predecessors | undefined;
  #address = "";
  readonly #waiting = new Set<LinkedAbort>();
  #running: Promise<unknown> = Promise.resolve();
  readonly #listeners: (() => void)[] = [];
  readonly #silenceListeners: (() => void)[] = [];

  private constructor(ports: MembershipPorts, place: Place) {
    this.#ports = ports;
    this.#place = place;
    this.#steward = this.#stewardLease();
  }

  /**
   * Take a number. `run` must follow.
   * @throws {RksError} BUSY when all numbers are taken, and as the storage does.
   */
  static async join(ports: MembershipPorts): Promise<Membership> {
    const membership = new Membership(ports, await takePlace(ports));
    try {
      membership.#before = await Predecessors.read({ host: ports.host, self: membership.id }, ports);
      await membership.#readOthers();
      return membership;
    } catch (reason) {
      await membership[Symbol.asyncDispose]();
      throw reason;
    }
  }

  /** As whom this process writes. */
  get writer(): Writer {
    const { number, lease } = this.#place;
    return { number, fence: lease.fence };
  }

  /** As `Members`. */
  get id(): string {
    return this.#place.id;
  }

  /** As `Stewardship`. */
  get isHeld(): boolean {
    return this.#steward.isHeld;
  }

  /** As `Members`. */
  find(id: string): Member | undefined {
    if (id === this.id) return { id, address: this.#address };
    return this.#others.find((other) => other.id === id);
  }

  /** As `Members`. */
  addresses(): readonly string[] {
    const all = [this.#address, ...this.#others.map(({ address }) => address)];
    return [...new Set(all)].filter((address) => address !== "");
  }

  /** As `Members`. A record of its own: the one with the number changes with its holder only. */
  async announce(address: string): Promise<void> {
    this.#address = address;
    const { lease, id } = this.#place;
    const { storage, host } = this.#ports;
    await storage.transaction([lease.fence], [announcement(lease.key, { id, address, host })]);
  }

  /** As `Members`. */
  get before(): readonly string[] {
    return this.#before?.ids ?? [];
  }

  /** As `Members`. */
  async expelBefore({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#before?.expel(() => this.#fence(), { signal });
  }

  /** As `Members`. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** As `Members`. */
  onSilence(listener: () => void): void {
    this.#silenceListeners.push(listener);
  }

  async whenHeld(signal: AbortSignal): Promise<void> {
    while (!this.isHeld && !signal.aborted && !this.#closing.signal.aborted) {
      const woken = new LinkedAbort(signal, this.#closing.signal);
      this.#waiting.add(woken);
      await aborted(woken.signal);
      this.#waiting.delete(woken);
    }
  }

  /** Stay a member until disposed. `onMoved` is called, and waited for, when this process had to take another number. */
  run(onMoved: (writer: Writer) => Promise<void>): void {
    const { signal } = this.#closing;
    this.#running = Promise.all([this.#stay(onMoved, signal), this.#lead(signal), this.#watchOthers(signal)]);
  }

  /** Give number and stewardship back, so that nobody has to wait for their end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
    await this.#steward.release().catch(() => undefined);
    await this.#place.lease.release().catch(() => undefined);
  }

  /** The store was exchanged: find out now whether the number is still this process's. */
  hurry(): void {
    this.#hurrying.abort();
  }

  /** Look at the members anew; the watch of the store says that they changed. */
  async refresh(): Promise<void> {
    await this.#readOthers().catch(() => undefined);
  }

  async #stay(onMoved: (writer: Writer) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#ports;
    let isMoving = false;
    while (!signal.aborted) {
      using hurrying = new LinkedAbort(signal);
      this.#hurrying = hurrying;
      if (!isMoving) await this.#place.lease.keep(hurrying.signal);
      if (signal.aborted) return;
      try {
        // The store was away or exchanged, and nobody has taken the number meanwhile.
        if (!isMoving && (await this.#renewLate())) continue;
        if (!isMoving) {
          const { number: place } = this.#place;
          if (hurrying.signal.aborted) logger.info("This rks takes a place in the other store");
          else logger.error("This rks was silent for too long; it takes another place", { place });
          this.#place = await takePlace(this.#ports);
          this.#steward = this.#stewardLease();
          isMoving = true;
        }
        // Whoever moved the vault away meanwhile did not wait for a silent one.
        const why = await this.#ports.whyLeft?.();
        if (why !== undefined) {
          this.#ports.onLeft?.(why);
          return;
        }
        await onMoved(this.writer);
        if (this.#address !== "") await this.announce(this.#address);
        isMoving = false;
      } catch (reason) {
        const { code, message } = RksError.from(reason);
        logger.warn("The store does not answer", { code, reason: message });
        await clock.sleep(RETRY_MS, { signal, background: true }).catch(() => undefined);
      }
    }
  }

  /** Renew after the time to live, or when told to hurry; a store that does not answer even then is told of. */
  async #renewLate(): Promise<boolean> {
    const { clock } = this.#ports;
    const { lease } = this.#place;
    const isOver = !lease.isHeld;
    const renewed = lease.renew();
    using over = new LinkedAbort(this.#closing.signal);
    const isAnswered = await Promise.race([
      renewed.then(
        () => true,
        () => false,
      ),
      clock.sleep(FIND_MS, { signal: over.signal, background: true }).then(
        () => false,
        () => true,
      ),
    ]);
    if (isOver && !isAnswered) this.#tellSilence();
    return await renewed;
  }

  #tellSilence(): void {
    if (this.#others.every(({ address }) => address === "")) return;
    this.#ports.logger.error("The store does not answer; nodes are sent to the other control planes");
    for (const listener of this.#silenceListeners) listener();
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#ports;
    while (!signal.aborted) {
      const steward = this.#steward;
      const moved = new LinkedAbort(signal);
      const taking = (silent: string): Promise<Taking> => this.#expel(silent);
      const led = steward.run(
        async (held) => {
          logger.info("This rks is the steward of those that share the store");
          for (const woken of this.#waiting) woken.abort();
          await this.#freePlaces(held);
        },
        { signal: moved.signal, taking },
      );
      while (steward === this.#steward && !signal.aborted) {
        await clock.sleep(LOOK_MS, { signal, background: true }).catch(() => undefined);
      }
      moved.abort();
      await led.catch((reason: unknown) => {
        logger.warn("Stewardship ended", { reason: RksError.from(reason).message });
      });
    }
  }

  /** What a silent steward's number is worth: nothing, from the moment on that somebody else is the steward. */
  async #expel(silent: string): Promise<Taking> {
    const [number = "", id = ""] = silent.split(" ");
    const key = MEMBERS_PREFIX + number;
    const member = await this.#ports.storage.get(key);
    if (member === undefined || fromUtf8(member.value) !== id) return { comparisons: [], writes: [] };
    return {
      comparisons: [{ key, modRevision: member.modRevision }],
      writes: [{ type: "put", key, value: utf8("") }],
    };
  }

  async #freePlaces(signal: AbortSignal): Promise<void> {
    const { storage, clock } = this.#ports;
    const leases = new Map<string, Lease>();
    while (!signal.aborted) {
      const { entries } = await storage.list(MEMBERS_PREFIX).catch(() => ({ entries: [] }));
      for (const { key, value } of entries) {
        if (!isPlace(key) || value.byteLength === 0) leases.delete(key);
        else if (key !== this.#place.lease.key) {
          const lease =
            leases.get(key) ?? new Lease({ ...this.#ports, key, holder: this.id, ttlMs: MEMBER_TTL_MS });
          leases.set(key, lease);
          await lease.tryFree().catch(() => false);
        }
      }
      await clock.sleep(LOOK_MS, { signal, background: true }).catch(() => undefined);
    }
  }

  async #watchOthers(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#ports.clock.sleep(LOOK_MS, { signal, background: true }).catch(() => undefined);
      if (!signal.aborted) await this.refresh();
    }
  }

  async #readOthers(): Promise<void> {
    const members = (await readMembers(this.#ports.storage)).filter(({ id }) => id !== this.id);
    const before = this.#others.map(({ id }) => id).join();
    this.#others = members;
    if (before === this.#others.map(({ id }) => id).join()) return;
    for (const listener of this.#listeners) listener();
  }

  /** @throws {RksError} UNAVAILABLE while this process has no number. */
  #fence(): Comparison {
    const { lease } = this.#place;
    if (lease.isHeld) return lease.fence;
    throw new RksError("UNAVAILABLE", "this rks has no place in its store at this moment", {
      suggestion: "Wait until the store answers, then try again.",
    });
  }

  #stewardLease(): Lease {
    const { number, id } = this.#place;
    return new Lease({ ...this.#ports, key: STEWARD_KEY, holder: `${number} ${id}`, ttlMs: MEMBER_TTL_MS });
  }
}

/** The lowest number that nobody has; one that is not given back yet waits for the steward to free it. */
async function takePlace(ports: MembershipPorts): Promise<Place> {
  const id = randomUUID();
  for (let number = 1; number <= MAX_WRITER; number += 1) {
    const lease = new Lease({
      ...ports,
      key: `${MEMBERS_PREFIX}${number}`,
      holder: id,
      ttlMs: MEMBER_TTL_MS,
    });
    if (await lease.tryTake()) return { number, id, lease };
  }
  throw new RksError("BUSY", `${MAX_WRITER} processes share this store already`, {
    suggestion: "Wait a minute for those that are gone, then try again.",
  });
}
