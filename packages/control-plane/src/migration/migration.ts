import { type Clock, type Logger, RksError, withDeadline } from "@rk8s/protocol";
import type { Entry, Storage, TransactionResult, Write } from "@rk8s/storage";
import { moved } from "../store/choose-store.js";
import { DIGEST_PURPOSE, formatSum, StoreDigest } from "../store/store-digest.js";
import {
  readSealEntries,
  readState,
  sameState,
  type Standing,
  standingOf,
  type StoredState,
  type StorePlace,
  type StoreState,
  type StoreStateOf,
  stateWrite,
} from "../store/store-state.js";
import { isOfMembers } from "../vault/members/places.js";
import { writerOfCounter } from "../vault/seal/barrier.js";
import { assertAlone } from "./alone.js";
import { boundedPause } from "./bounded-pause.js";
import { claimTarget } from "./claim.js";
import { type ClaimedStore, takenByOther } from "./claimed-store.js";
import { type CopyProgress, StoreCopy } from "./store-copy.js";
import type { MovedVault } from "./store-mover.js";
import type { SwitchableStorage, WritePause } from "./switchable-storage.js";

/** Whoever writes waits at most so long; then everything goes on as before and the switch is tried again later. */
const MAX_PAUSE_MS = 2_000;
/** Pauses between two looks whether the target has become the vault. */
const FIRST_LOOK_MS = 100;
const MAX_LOOK_MS = 5_000;

export interface MigrationInit {
  /** In use; what it stands on is the source. */
  readonly storage: SwitchableStorage;
  /** Becomes what `storage` stands on. Closed by the caller when the migration does not come to that. */
  readonly target: Storage;
  /** For people. */
  readonly from: string;
  readonly to: string;
  /** The target, for a start that has to ask it. */
  readonly place?: StorePlace | undefined;
  readonly vault: MovedVault;
  /** Names this migration. */
  readonly id: string;
}

export interface MigrationPorts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What was moved. */
export interface MigrationOutcome {
  readonly migration: string;
  readonly vault: string;
  readonly epoch: number;
  readonly entries: number;
  readonly digest: string;
  readonly at: string;
  /** How long writes were held back. */
  readonly pausedMs: number;
  /** The store that was left; resolves when it says so, nothing uses it any more and it can be closed. */
  readonly left: Promise<Storage>;
}

export type MigrationPhase = "copying" | "switching" | "in doubt" | "done";

/** The last transaction, and what is held back for it. */
interface Commit {
  readonly pause: WritePause;
  readonly since: number;
  readonly claimed: ClaimedStore;
  /** What the source says meanwhile, and the target after it. */
  readonly switching: Said;
  readonly active: StoreStateOf<"active">;
  readonly writes: readonly Write[];
  readonly counters: readonly Entry[];
}

/** What a store says of itself. */
type Said = Pick<StoredState, "state" | "modRevision">;

/** What a switch begins with. */
interface Copied {
  readonly copy: StoreCopy;
  readonly standing: Standing;
  readonly claimed: ClaimedStore;
  readonly leaving: Said;
}

/**
 * One move of a vault's store to another one, while it is used: copy and compare below the barrier, then hold back writes for a
 * moment, copy the rest, and switch. One transaction of the target makes it the vault: seal, counter and state. Before it the
 * source is the vault, after it the target is, and whoever starts in between is told by both (`store/choose-store.ts`).
 */
export class Migration {
  readonly #init: MigrationInit;
  readonly #ports: MigrationPorts;
  readonly #source: Storage;
  #phase: MigrationPhase = "copying";
  #hasMarked = false;
  #copy: StoreCopy | undefined;
  /** Its answer was lost. */
  #doubt: Commit | undefined;

  constructor(init: MigrationInit, ports: MigrationPorts) {
    this.#init = init;
    this.#ports = ports;
    this.#source = init.storage.current;
  }

  get id(): string {
    return this.#init.id;
  }

  get phase(): MigrationPhase {
    return this.#phase;
  }

  /** Whether the source may say that the target knows; another attempt overwrites that before it says it anew. */
  get hasMarked(): boolean {
    return this.#hasMarked;
  }

  get progress(): CopyProgress | undefined {
    return this.#copy?.progress;
  }

  /**
   * Move. When it throws, the source is the vault as before, unless `phase` is "in doubt": then nothing can be written until
   * `settle` has found out.
   * @throws {RksError} ALREADY_EXISTS when the target is the source; STORAGE_FOREIGN when it holds something else; CONFLICT
   * when somebody else writes to it, or has the source open; TIMED_OUT when the last part takes too long; as the stores do; the signal's reason.
   */
  async run(signal: AbortSignal): Promise<MigrationOutcome> {
    const { storage, target, vault } = this.#init;
    const { guard } = vault;
    await vault.members?.().expelBefore({ signal });
    await assertAlone(this.#source, vault);
    let before: Said | undefined = await readState(this.#source);
    const standing = standingOf(before?.state);
    // The target of the attempt before is no answer to a start any more once this one has claimed it.
    if (before?.state.state === "switching") before = await this.#writeState(before, this.#leaving(standing));
    const claimed = await claimTarget(target, {
      source: this.#source,
      state: this.#copying(standing),
      vault: vault.id,
      guard,
      cameBy: cameBy(before?.state),
      to: this.#init.to,
    });
    const leaving = await this.#writeState(before, this.#leaving(standing));
    const derived = guard.deriveKey(DIGEST_PURPOSE);
    if (derived === undefined) throw RksError.from(new Error("the active term has no key"));
    const copy = new StoreCopy({
      source: this.#source,
      target: claimed,
      digest: new StoreDigest(derived.key),
    });
    this.#copy = copy;
    storage.onWritten((keys) => copy.touched(keys));
    try {
      await copy.catchUp(signal);
      return await this.#switch({ copy, standing, claimed, leaving }, signal);
    } catch (reason) {
      if (this.#phase !== "in doubt") await this.#stay(standing);
      throw reason;
    } finally {
      storage.onWritten(undefined);
      derived.key.fill(0);
    }
  }

  /**
   * Find out whether the target has become the vault after all, and go on with the one or the other.
   * @throws {RksError} STORAGE_MOVED when it has, and another process goes on from there; the signal's reason, and then it is
   * still not known.
   */
  async settle(signal: AbortSignal): Promise<MigrationOutcome | undefined> {
    const doubt = this.#doubt;
    if (doubt === undefined) return undefined;
    const revision = await this.#committedRevision(doubt, signal);
    this.#doubt = undefined;
    if (revision !== undefined) return this.#switched(doubt, revision);
    this.#phase = "copying";
    doubt.pause.resume();
    return undefined;
  }

  async #switch(copied: Copied, signal: AbortSignal): Promise<MigrationOutcome> {
    const commit = await this.#prepare(copied, signal);
    const { claimed, writes } = commit;
    this.#phase = "switching";
    let result: TransactionResult;
    try {
      result = await claimed.transaction(writes);
    } catch (reason) {
      this.#ports.logger.warn("It is not known whether the store was switched", {
        error: RksError.from(reason),
      });
      this.#doubt = commit;
      this.#phase = "in doubt";
      const outcome = await this.settle(signal);
      if (outcome !== undefined) return outcome;
      throw reason;
    }
    if (result.succeeded) return this.#switched(commit, result.revision);
    this.#phase = "copying";
    commit.pause.resume();
    throw takenByOther(this.#init.to);
  }

  /** Everything but the last transaction, in time. When this throws nothing of it is under way any more. */
  async #prepare(copied: Copied, signal: AbortSignal): Promise<Commit> {
    const { clock } = this.#ports;
    const attempt = "the last part could not be copied";
    let work: Promise<Commit> | undefined;
    try {
      return await withDeadline((inner) => (work = this.#holdBack(copied, inner)), {
        clock,
        timeoutMs: MAX_PAUSE_MS,
        attempt,
        signal,
      });
    } finally {
      // What the source says of itself must not change after it was looked at.
      await Promise.allSettled([work]);
    }
  }

  /** Hold writes back, copy the rest, and say in the source that the target knows. Aborted, writes go on at once. */
  async #holdBack({ copy, standing, claimed, leaving }: Copied, signal: AbortSignal): Promise<Commit> {
    const { clock } = this.#ports;
    const { storage, from, to, id, vault } = this.#init;
    const since = clock.monotonicMs();
    const held = await storage.pause({ signal });
    let isOver = false;
    const giveUp = (): void => {
      if (!isOver) held.resume();
      isOver = true;
    };
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      const total = await copy.finish(signal);
      const all = await readSealEntries(this.#source);
      // Who has the source open is not who has the target open.
      const core = all.filter(({ key }) => !isOfMembers(key));
      const counters = core.filter(({ key }) => writerOfCounter(key) !== undefined);
      const about = this.#about(standing);
      const summed = { entries: total.entries, digest: formatSum(total) };
      const active: StoreStateOf<"active"> = {
        ...about,
        moves: standing.moves + 1,
        state: "active",
        migration: id,
        from,
        ...summed,
      };
      const seal = core.map(({ key, value }): Write => ({ type: "put", key, value }));
      const writes = [...seal, stateWrite(active, vault.guard)];
      signal.throwIfAborted();
      const state: StoreState = { ...about, state: "switching", ...this.#move(), ...summed };
      this.#hasMarked = true;
      const switching = await this.#writeState(leaving, state);
      // Whoever opens the store reads that after it is to be seen there itself: one of the two notices the other.
      await assertAlone(this.#source, vault);
      signal.throwIfAborted();
      // From here on nobody knows before the target has answered; until here the deadline lets writes go on.
      const timeoutMs = MAX_PAUSE_MS - (clock.monotonicMs() - since);
      const pause = boundedPause(held, { clock, timeoutMs, tooLong: () => inDoubt(to) });
      return { pause, since, claimed, switching, active, writes, counters };
    } catch (reason) {
      giveUp();
      throw reason;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** Say that the vault is still here. Where this fails the next start asks the target, which says the same. */
  async #stay(standing: Standing): Promise<void> {
    try {
      const stored = await readState(this.#source);
      if (stored?.state.state !== "switching" || stored.state.migration !== this.id) return;
      await this.#writeState(stored, this.#leaving(standing));
    } catch (reason) {
      this.#ports.logger.warn("The old store could not be marked as staying", {
        error: RksError.from(reason),
      });
    }
  }

  /** The target is the vault now: the exchange, and telling the barrier, are one turn of the event loop. */
  #switched(commit: Commit, revision: number): MigrationOutcome {
    const { storage, target, vault, id } = this.#init;
    const { pause, active, counters, since } = commit;
    const { entries = 0, digest = "", at, epoch } = active;
    const modRevision = pause.revision + revision;
    const unused = pause.switchTo(target, revision);
    storage.onWritten(undefined);
    vault.guard.movedTo(
      counters.map((counter) => ({ ...counter, createRevision: modRevision, modRevision })),
      modRevision,
    );
    this.#phase = "done";
    const pausedMs = Math.round(this.#ports.clock.monotonicMs() - since);
    const left = Promise.all([unused, this.#markLeft(commit)]).then(() => this.#source);
    return { migration: id, vault: vault.id, epoch, entries, digest, at, pausedMs, left };
  }

  /** Nobody waits for it: where it fails the source says that the target knows, which is as good. */
  async #markLeft({ switching, active: { entries = 0, digest = "" } }: Commit): Promise<void> {
    try {
      const about = this.#about(standingOf(switching.state));
      await this.#writeState(switching, { ...about, state: "moved", ...this.#move(), entries, digest });
    } catch (reason) {
      const error = RksError.from(reason);
      this.#ports.logger.warn("The old store could not be marked as left", { error });
    }
  }

  /** Revision at which the target became the vault; undefined: it did not, and cannot any more by that transaction. */
  async #committedRevision(
    { pause, claimed, switching }: Commit,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { target, vault, id, to } = this.#init;
    const { clock } = this.#ports;
    for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(lookMs * 2, MAX_LOOK_MS)) {
      let now: StoredState | undefined;
      try {
        const write = stateWrite(this.#copying(standingOf(switching.state)), vault.guard);
        // Done before the lost one it keeps that from ever being done; after it, it finds another state.
        if ((await claimed.transaction([write])).succeeded) return undefined;
        now = await readState(target);
      } catch (reason) {
        await clock.sleep(lookMs, { signal }).catch(() => pause.refuse(inDoubt(to, reason)));
        signal.throwIfAborted();
        continue;
      }
      const state = now?.state;
      if (now !== undefined && state?.state === "active" && state.migration === id) return now.modRevision;
      if (state?.vault !== vault.id || state.state === "copying") return undefined;
      // It was the vault meanwhile, and somebody else has had it there since.
      const goneOn = moved(to, state.at);
      pause.refuse(goneOn);
      throw goneOn;
    }
  }

  async #writeState(before: Said | undefined, state: StoreState): Promise<Said> {
    const write = stateWrite(state, this.#init.vault.guard);
    const { succeeded, revision } = await this.#source.transaction([sameState(before)], [write]);
    if (!succeeded) throw taken(this.#init.from);
    return { state, modRevision: revision };
  }

  #about(standing: Standing): Standing & Pick<StoreState, "version" | "vault" | "at"> {
    const at = new Date(this.#ports.clock.now()).toISOString();
    return { version: 1, vault: this.#init.vault.id, ...standing, at };
  }

  /** The target, before it is the vault. */
  #copying(standing: Standing): StoreStateOf<"copying"> {
    const { id: migration, from } = this.#init;
    return { ...this.#about(standing), state: "copying", migration, from };
  }

  #leaving(standing: Standing): StoreStateOf<"leaving"> {
    return { ...this.#about(standing), state: "leaving", ...this.#move() };
  }

  #move(): Pick<StoreStateOf<"leaving">, "migration" | "to" | "place"> {
    const { id: migration, to, place } = this.#init;
    return { migration, to, ...(place === undefined ? {} : { place }) };
  }
}

/** The migration by which a vault came into the store that says this of itself. */
export function cameBy(state: StoreState | undefined): string | undefined {
  return state?.state === "active" ? state.migration : undefined;
}

function taken(name: string): RksError {
  return new RksError("CONFLICT", `somebody else changed the state of the store at ${name} meanwhile`, {
    suggestion: "Let only one rks migrate it.",
  });
}

function inDoubt(to: string, cause?: unknown): RksError {
  return new RksError(
    "UNAVAILABLE",
    `the store at ${to} stopped answering in the moment of the switch: nothing is written until it answers`,
    { cause, suggestion: "Bring that store back; rks goes on by itself." },
  );
}
