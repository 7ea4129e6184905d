import { type Clock, fromUtf8, LinkedAbort, utf8 } from "@rk8s/protocol";

import type { Comparison, Storage, Write } from "./storage.js";

/** Renewals in a time to live: two may be lost. */
const RENEWALS_PER_TTL = 3;
/** How often who waits looks, as a part of the time to live. */
const LOOKS_PER_TTL = 4;

export interface LeaseInit {
  readonly storage: Storage;
  /** Two records are kept: who has it, under `key`, and the renewals, under `<key>/beat`. */
  readonly key: string;
  /** Tells this process to the others; not empty. */
  readonly holder: string;
  /** How long the holder may be silent. Everybody who wants the lease must use the same. */
  readonly ttlMs: number;
  readonly clock: Clock;
}

/** What is done together with taking the lease from somebody who was silent, or not at all. */
export interface Taking {
  readonly comparisons: readonly Comparison[];
  readonly writes: readonly Write[];
}

/** The records as somebody saw them, and since when they have been so. */
interface Sight {
  readonly holder: string;
  readonly fence: number;
  readonly beat: number;
  readonly sinceMs: number;
}

/**
 * What one process of several has at a time, built on the storage port alone. Nobody's clock is compared with another's: the
 * lease is taken from a holder whose renewals stood still for the time to live while the taker watched, by the taker's
 * own monotonic clock. The holder counts from before each renewal, so it stops before anybody may take the lease. One that
 * was frozen may not know yet; its writes must compare `fence`, which changes with each holder and at no other time.
 */
export class Lease {
  readonly #init: LeaseInit;
  /** Of the record of the holder, when this process wrote it; 0: it does not have the lease. */
  #fence = 0;
  #validUntilMs = -Infinity;
  #seen: Sight | undefined;

  constructor(init: LeaseInit) {
    if (init.holder === "") throw new TypeError("a lease's holder needs a name");
    this.#init = init;
  }

  get key(): string {
    return this.#init.key;
  }

  /** Whether this process has it, as far as it can know. True only while nobody else can have taken it. */
  get isHeld(): boolean {
    return this.#fence !== 0 && this.#init.clock.monotonicMs() < this.#validUntilMs;
  }

  /**
   * For the holder's transactions: they fail once somebody else has taken the lease.
   * @throws {TypeError} when this process has not taken it.
   */
  get fence(): Comparison {
    if (this.#fence === 0) throw new TypeError(`the lease "${this.key}" was not taken`);
    return { key: this.key, modRevision: this.#fence };
  }

  /** Who has it, as its record says; undefined: nobody. Whether that one is still alive is not looked at. */
  async holder(): Promise<string | undefined> {
    const { holder } = await this.#look();
    return holder === "" ? undefined : holder;
  }

  /**
   * Take it, when nobody has it or its holder was silent for the whole time to live since this object saw it first. True: this
   * process has it. `taking` says, for the holder that loses it, what is done in the same transaction.
   */
  async tryTake(taking?: (silent: string) => Promise<Taking>): Promise<boolean> {
    const { clock, holder, ttlMs } = this.#init;
    const sight = await this.#look();
    if (sight.holder !== "" && !this.#isSilent(sight)) return false;
    const startedMs = clock.monotonicMs();
    const fence = await this.#replace(sight, holder, sight.holder === "" ? undefined : taking);
    if (fence === undefined) return false;
    this.#fence = fence;
    this.#validUntilMs = startedMs + ttlMs;
    return true;
  }

  /** Take it away from a holder that was silent for the whole time to live, for nobody. True: nobody has it now. */
  async tryFree(): Promise<boolean> {
    const sight = await this.#look();
    if (sight.holder === "") return true;
    return this.#isSilent(sight) && (await this.#replace(sight, "")) !== undefined;
  }

  /** Say that this process is alive. False: somebody else has the lease, or nobody, and this process has not. */
  async renew(): Promise<boolean> {
    if (this.#fence === 0) return false;
    const { storage, clock, ttlMs } = this.#init;
    const startedMs = clock.monotonicMs();
    const { fence } = this;
    const { succeeded } = await storage.transaction([fence], [this.#beat()]);
    if (succeeded) this.#validUntilMs = Math.max(this.#validUntilMs, startedMs + ttlMs);
    else if (this.#fence === fence.modRevision) this.#fence = 0;
    return succeeded;
  }

  /** Give it back, so that nobody has to wait. Not had any more: nothing happens. */
  async release(): Promise<void> {
    if (this.#fence === 0) return;
    const { fence } = this;
    this.#fence = 0;
    await this.#init.storage.transaction([fence], [{ type: "put", key: this.key, value: utf8("") }]);
  }

  /**
   * Renew it in time until it is lost or `signal` is aborted. Resolves with true when it is lost: somebody else has it, or the
   * store has not answered for the time to live. Never rejects.
   */
  async keep(signal: AbortSignal): Promise<boolean> {
    const { clock, ttlMs } = this.#init;
    while (!signal.aborted) {
      if (!this.isHeld) return true;
      await clock.sleep(ttlMs / RENEWALS_PER_TTL, { signal, background: true }).catch(() => undefined);
      if (signal.aborted) return false;
      if ((await this.#renewInTime(signal)) === "refused") return true;
    }
    return false;
  }

  /** Wait for it, work while it is held, again and again until `signal` is aborted. Rejects with what the work throws. */
  async run(
    work: (signal: AbortSignal) => Promise<void>,
    options: { readonly signal: AbortSignal; readonly taking?: (silent: string) => Promise<Taking> },
  ): Promise<void> {
    const { signal, taking } = options;
    const { clock, ttlMs } = this.#init;
    while (!signal.aborted) {
      const isTaken = await this.tryTake(taking).catch(() => false);
      if (isTaken) await this.#work(work, signal);
      if (signal.aborted) return;
      await clock.sleep(ttlMs / LOOKS_PER_TTL, { signal, background: true }).catch(() => undefined);
    }
  }

  async #work(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const over = new LinkedAbort(signal);
    const kept = this.keep(over.signal).finally(() => over.abort());
    try {
      await work(over.signal);
    } finally {
      over.abort();
      await kept;
      await this.release().catch(() => undefined);
    }
  }

  /** A renewal that the store does not answer is not waited for longer than the lease lasts. */
  async #renewInTime(signal: AbortSignal): Promise<"renewed" | "refused" | "unanswered"> {
    const { clock } = this.#init;
    using answered = new LinkedAbort(signal);
    const leftMs = Math.max(0, this.#validUntilMs - clock.monotonicMs());
    const over = clock.sleep(leftMs, { signal: answered.signal, background: true }).then(
      () => "unanswered" as const,
      () => "unanswered" as const,
    );
    const renewed = this.renew().then(
      (isRenewed) => (isRenewed ? ("renewed" as const) : ("refused" as const)),
      () => "unanswered" as const,
    );
    return await Promise.race([renewed, over]);
  }

  #isSilent({ sinceMs }: Sight): boolean {
    return this.#init.clock.monotonicMs() - sinceMs >= this.#init.ttlMs;
  }

  /** Undefined: the records changed since they were seen, and nothing was written. */
  async #replace(
    sight: Sight,
    holder: string,
    taking?: (silent: string) => Promise<Taking>,
  ): Promise<number | undefined> {
    const { storage } = this.#init;
    const besides = (await taking?.(sight.holder)) ?? { comparisons: [], writes: [] };
    const { succeeded, revision } = await storage.transaction(
      [
        { key: this.key, modRevision: sight.fence },
        { key: this.#beatKey, modRevision: sight.beat },
        ...besides.comparisons,
      ],
      [{ type: "put", key: this.key, value: utf8(holder) }, this.#beat(), ...besides.writes],
    );
    this.#seen = undefined;
    return succeeded ? revision : undefined;
  }

  /** The time counts from the first look that saw the records as they are: before the store was asked would be too early. */
  async #look(): Promise<Sight> {
    const { storage, clock } = this.#init;
    const record = await storage.get(this.key);
    const beat = (await storage.get(this.#beatKey))?.modRevision ?? 0;
    const fence = record?.modRevision ?? 0;
    if (this.#seen?.fence === fence && this.#seen.beat === beat) return this.#seen;
    const holder = record === undefined ? "" : fromUtf8(record.value);
    this.#seen = { holder, fence, beat, sinceMs: clock.monotonicMs() };
    return this.#seen;
  }

  get #beatKey(): string {
    return `${this.key}/beat`;
  }

  /** What counts is that it was written. */
  #beat(): Write {
    return { type: "put", key: this.#beatKey, value: utf8("") };
  }
}
