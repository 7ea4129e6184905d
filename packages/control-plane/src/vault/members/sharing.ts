import { aborted, type Clock, type Logger, RksError } from "@rk8s/protocol";
import { revisionOf, type Storage } from "@rk8s/storage";

import type { Barrier, Writer } from "../seal/barrier.js";
import { SEAL_CONFIG_KEY } from "../seal/seal.js";
import { type Changes, Listeners, NO_CHANGES } from "./changes.js";
import { Hearing } from "./hearing.js";
import { STORE_STATE_KEY } from "./in-use.js";
import { Membership } from "./membership.js";
import { type Member, MEMBERS_PREFIX } from "./places.js";
import { ALONE, type Stewardship } from "./stewardship.js";

/** The processes that have the store open. */
export interface Members {
  /** Whether there may be others. */
  readonly isShared: boolean;
  /** Which of them this process is; empty while nobody else can have the store, and nobody's id before it is one of them. */
  readonly id: string;
  /** One that is there, as of the last look; undefined: it is gone. */
  find(id: string): Member | undefined;
  /** Those that serve agents, this process among them, as of the last look. */
  addresses(): readonly string[];
  /** Those of this host that were there when this process came: as its vault folder was free they are dead, unless it is a copy. */
  readonly before: readonly string[];
  /**
   * Take the number from those before that do not stir for as long as whoever lives does, so that they write nothing any more;
   * who does stir keeps it. Waits some seconds when there are any. @throws {RksError} as the storage does; the signal's reason.
   */
  expelBefore(options: { readonly signal: AbortSignal }): Promise<void>;
  /** Tell the others where agents reach this process. @throws {RksError} as the storage does. */
  announce(address: string): Promise<void>;
  /** Call `listener` when some have gone or come, and when the store begins to be shared. */
  onChange(listener: () => void): void;
  /**
   * Call `listener`, again and again, while the store does not answer this process for so long that the others take it for
   * gone, and there are others that serve agents.
   */
  onSilence(listener: () => void): void;
}

/** How an open vault shares its store with other processes, for whoever keeps something in memory or works in the background. */
export interface Sharing {
  readonly changes: Changes;
  readonly stewardship: Stewardship;
  readonly members: Members;
  /** Whether the store has not told for two seconds what others write, or it could not be shared yet. */
  readonly isCutOff: boolean;
}

/** What a process is called that is not yet one of those who share a store. */
const NOT_YET = "not yet";
/** Pause before sharing a store is tried again. */
const RETRY_MS = 250;

/** Of a process that has its store for itself. */
export const UNSHARED: Sharing = {
  changes: NO_CHANGES,
  stewardship: ALONE,
  members: {
    isShared: false,
    id: "",
    find: () => undefined,
    addresses: () => [],
    before: [],
    expelBefore: () => Promise.resolve(),
    announce: () => Promise.resolve(),
    onChange: () => undefined,
    onSilence: () => undefined,
  },
  isCutOff: false,
};

export interface StoreSharingPorts {
  /** Below the barrier. */
  readonly storage: Storage;
  /** As `MembershipPorts`. */
  readonly host?: string | undefined;
  /** As `VaultInit`. */
  readonly whyLeft?: (() => Promise<RksError | undefined>) | undefined;
  /** Called once, when this process has no business with the store any more, and why. */
  readonly onLeft?: ((why: RksError) => void) | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The sharing of one unsealed vault's store. It may begin while the vault is in use, when the store is moved. */
export class StoreSharing implements Sharing, Stewardship, Members, AsyncDisposable {
  readonly changes: Listeners;
  readonly #ports: StoreSharingPorts;
  readonly #memberListeners: (() => void)[] = [];
  readonly #silenceListeners: (() => void)[] = [];
  #membership: Membership | undefined;
  #hearing: Hearing | undefined;
  #address = "";
  readonly #closing = new AbortController();
  /** Until a store that was this process's own is shared. */
  #beginning: Promise<void> | undefined;
  #isFailing = false;
  #isLeft = false;

  constructor(ports: StoreSharingPorts) {
    this.#ports = ports;
    this.changes = new Listeners(ports);
  }

  get stewardship(): Stewardship {
    return this;
  }

  get members(): Members {
    return this;
  }

  get isShared(): boolean {
    return this.#membership !== undefined;
  }

  get isCutOff(): boolean {
    return this.#hearing?.isCutOff ?? this.#isFailing;
  }

  get isHeld(): boolean {
    return this.#membership?.isHeld ?? this.#beginning === undefined;
  }

  get id(): string {
    return this.#membership?.id ?? (this.#beginning === undefined ? "" : NOT_YET);
  }

  async whenHeld(signal: AbortSignal): Promise<void> {
    const beginning = this.#membership === undefined ? this.#beginning : undefined;
    if (beginning !== undefined) await Promise.race([beginning, aborted(signal)]);
    await this.#membership?.whenHeld(signal);
  }

  find(id: string): Member | undefined {
    return this.#membership?.find(id);
  }

  addresses(): readonly string[] {
    return this.#membership?.addresses() ?? [];
  }

  get before(): readonly string[] {
    return this.#membership?.before ?? [];
  }

  async expelBefore(options: { readonly signal: AbortSignal }): Promise<void> {
    await this.#membership?.expelBefore(options);
  }

  async announce(address: string): Promise<void> {
    this.#address = address;
    await this.#membership?.announce(address);
  }

  onChange(listener: () => void): void {
    this.#memberListeners.push(listener);
  }

  onSilence(listener: () => void): void {
    this.#silenceListeners.push(listener);
  }

  /** Become one of those who have the store open; gives as whom this process writes. `listen` must follow. */
  async join(): Promise<Writer> {
    const membership = await this.#enter();
    this.#use(membership);
    return membership.writer;
  }

  /** Hear what the others write from `revision` of the store on; nothing may have been read before it. */
  listen(barrier: Barrier, revision: number, onSeal: () => void): void {
    const membership = this.#membership;
    if (membership === undefined) throw new TypeError("the store is not shared");
    const hearing = new Hearing({ ...this.#ports, barrier }, this.changes, revision);
    hearing.onBelow(SEAL_CONFIG_KEY, onSeal);
    hearing.onBelow(MEMBERS_PREFIX, (key) => {
      // Renewals say nothing new.
      if (!key.endsWith("/beat")) void membership.refresh();
    });
    hearing.onBelow(STORE_STATE_KEY, () => void this.#lookWhetherLeft());
    this.changes.onGap(() => void this.#lookWhetherLeft());
    hearing.run();
    membership.run(async (writer) => {
      await barrier.writeAs(writer);
      this.changes.gap();
    });
    this.#hearing = hearing;
  }

  /**
   * Share a store that is in use already and was this process's own until now: tried in the background until it works or this
   * is disposed. Shared already, or about to be: nothing happens.
   */
  begin(barrier: Barrier, onSeal: () => void): void {
    if (this.isShared || this.#closing.signal.aborted) return;
    this.#beginning ??= this.#untilShared(barrier, onSeal);
  }

  /** The store was exchanged for a copy: revisions that were read are void, and this process may have to find a place there. */
  moved(): void {
    this.#membership?.hurry();
    this.changes.gap();
  }

  /** Hear no more, and begin nothing. The place among the others is kept until `[Symbol.asyncDispose]`. */
  async deafen(): Promise<void> {
    this.#closing.abort();
    await this.#beginning;
    await this.#hearing?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.deafen();
    await this.#membership?.[Symbol.asyncDispose]();
  }

  async #untilShared(barrier: Barrier, onSeal: () => void): Promise<void> {
    const { clock, logger } = this.#ports;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        if (!this.isShared) await this.#share(barrier, onSeal);
        if (this.#address !== "") await this.announce(this.#address);
        this.#beginning = undefined;
        if (this.#isFailing) logger.info("The store is shared now");
        this.#isFailing = false;
        return;
      } catch (reason) {
        const error = RksError.from(reason);
        const { code, message } = error;
        if (code === "STORAGE_MOVED") {
          this.#leave(error);
          return;
        }
        if (!this.#isFailing) logger.warn("The store cannot be shared yet", { code, reason: message });
        this.#isFailing = true;
        // Others may write to it all the same, and nobody tells of that.
        this.changes.gap();
      }
      await clock.sleep(RETRY_MS, { signal, background: true }).catch(() => undefined);
    }
  }

  /** While another process moves the vault its state changes as well; that one asks who is here, and waits. */
  async #lookWhetherLeft(): Promise<void> {
    const why = await this.#ports.whyLeft?.().catch(() => undefined);
    if (why?.code === "STORAGE_MOVED") this.#leave(why);
  }

  #leave(why: RksError): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.#ports.onLeft?.(why);
  }

  #enter(): Promise<Membership> {
    return Membership.join({ ...this.#ports, onLeft: (why) => this.#leave(why) });
  }

  /** When it fails everything is as before. */
  async #share(barrier: Barrier, onSeal: () => void): Promise<void> {
    const revision = await revisionOf(this.#ports.storage);
    const membership = await this.#enter();
    try {
      const why = await this.#ports.whyLeft?.();
      if (why !== undefined) throw why;
      await barrier.writeAs(membership.writer);
    } catch (reason) {
      await membership[Symbol.asyncDispose]();
      throw reason;
    }
    this.#use(membership);
    this.listen(barrier, revision, onSeal);
    this.changes.gap();
    this.#membersChanged();
  }

  #use(membership: Membership): void {
    membership.onChange(() => this.#membersChanged());
    membership.onSilence(() => {
      for (const listener of this.#silenceListeners) listener();
    });
    this.#membership = membership;
  }

  #membersChanged(): void {
    for (const listener of this.#memberListeners) listener();
  }
}
