import { randomUUID } from "node:crypto";
import { type Clock, type Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { StoreConfig } from "../config/config.js";
import { storeName, storePlace } from "../store/store-name.js";
import { readState } from "../store/store-state.js";
import type { Members } from "../vault/members/sharing.js";
import type { StoreGuard } from "../vault/vault.js";
import { assertClaimable } from "./claim.js";
import type { CopyProgress } from "./store-copy.js";
import { cameBy, Migration, type MigrationOutcome, type MigrationPhase } from "./migration.js";
import type { SwitchableStorage } from "./switchable-storage.js";

/** Pauses between two attempts while the other store does not answer. */
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;
const IN_DOUBT = "whether it was moved is found out when it is unsealed";

/** How a migration is, for people and programs. */
export interface MoveStatus {
  readonly phase: "connecting" | MigrationPhase | "waiting" | "failed";
  readonly from: string;
  readonly to: string;
  readonly startedAt: string;
  readonly entries: number;
  readonly parts: number;
  readonly verified: number;
  /** Why the last attempt ended. */
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Once it is done. */
  readonly digest: string | null;
  readonly pausedMs: number | null;
}

export interface StoreMoverPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Opens a store that is to be moved to. */
  readonly openTarget: (to: StoreConfig) => Promise<Storage>;
  /** Called when the vault is in another store, before that is over; it must not throw. */
  readonly onMoved: (from: StoreConfig, to: StoreConfig, outcome: MigrationOutcome) => Promise<void>;
  readonly random?: () => number;
}

/** Which vault, and what its barrier can do. */
export interface MovedVault {
  readonly id: string;
  readonly guard: StoreGuard;
  /** Who shares its store; none: nobody can. */
  readonly members?: (() => Pick<Members, "id" | "before" | "expelBefore">) | undefined;
}

/** Moves the store of a vault to another place, again and again until it works. One at a time. */
export class StoreMover implements AsyncDisposable {
  readonly #storage: SwitchableStorage;
  readonly #ports: StoreMoverPorts;
  #at: StoreConfig;
  #status: Omit<MoveStatus, keyof CopyProgress> | undefined;
  #migration: Migration | undefined;
  /** The last migration that marked the store, which it is to leave: the mark may have stayed, whatever was tried since. */
  #marked: string | undefined;
  #target: { readonly to: StoreConfig; readonly storage: Storage } | undefined;
  /** What is done to the store alone. */
  #work: Promise<unknown> | undefined;

  /** `at`: where the store is now. */
  constructor(storage: SwitchableStorage, at: StoreConfig, ports: StoreMoverPorts) {
    this.#storage = storage;
    this.#at = at;
    this.#ports = ports;
  }

  /** Where the store is. */
  get at(): StoreConfig {
    return this.#at;
  }

  /** The migration that runs, or the last one since this process began; undefined: there was none. */
  get status(): MoveStatus | undefined {
    if (this.#status === undefined) return undefined;
    const progress = this.#migration?.progress ?? { entries: 0, parts: 0, verified: 0 };
    return { ...this.#status, ...progress, phase: this.#phaseOf(this.#status.phase) };
  }

  /** Whether it is not known which of two stores is the vault: nothing can be written before `settle` has found out. */
  get isInDoubt(): boolean {
    return this.#migration?.phase === "in doubt";
  }

  /** Whether this process has tried a migration away from where the store is. */
  hasTried(migration: string): boolean {
    return migration === this.#migration?.id || migration === this.#marked;
  }

  /** Whether it has, and knows that the store stayed. */
  hasSettled(migration: string): boolean {
    return this.hasTried(migration) && !(this.isInDoubt && this.#migration?.id === migration);
  }

  /**
   * Find out which store is the vault, when that is in doubt; a lasting one.
   * @throws the signal's reason while the store that knows does not answer.
   */
  async settle(signal: AbortSignal): Promise<void> {
    const settled = await this.#migration?.settle(signal);
    if (settled !== undefined && this.#target !== undefined) await this.#moved(this.#target.to, settled);
  }

  /**
   * Begin to move to another store, when `check` and that store have nothing against it. Then it is tried until it works, or
   * cannot ever; `status` tells.
   * @throws {RksError} BUSY while a migration or a backup runs; what `check` throws; STORAGE_FOREIGN, CONFIG_INVALID and
   * whatever else will not pass by itself; the signal's reason.
   */
  start(
    to: StoreConfig,
    vault: MovedVault,
    { signal, check }: { readonly signal: AbortSignal; readonly check?: () => Promise<void> },
  ): Promise<void> {
    return new Promise((begun, refuse) => {
      const work = async (): Promise<void> => {
        await check?.();
        await this.#assertPossible(to, vault);
        signal.throwIfAborted();
        begun();
        await this.#untilMoved(to, vault, signal);
      };
      // Once it has begun nobody hears that.
      this.alone(work).catch(refuse);
    });
  }

  /** Do something to the store during which it must not be moved. @throws {RksError} BUSY; what `work` throws. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#work !== undefined) throw busy();
    const done = work();
    this.#work = done;
    try {
      return await done;
    } finally {
      this.#work = undefined;
    }
  }

  /** Resolves when what is done to the store alone is over. */
  async idle(): Promise<void> {
    await this.#work?.catch(() => undefined);
  }

  /** Changes nothing. A store that does not answer now could later. */
  async #assertPossible(to: StoreConfig, vault: MovedVault): Promise<void> {
    if (this.isInDoubt) return;
    try {
      await using target = await this.#ports.openTarget(to);
      const before = await readState(this.#storage);
      const known = {
        source: this.#storage,
        vault: vault.id,
        guard: vault.guard,
        cameBy: cameBy(before?.state),
      };
      await assertClaimable(target, { ...known, to: storeName(to) });
    } catch (reason) {
      if (!RksError.from(reason).retryable) throw reason;
    }
  }

  async #untilMoved(to: StoreConfig, vault: MovedVault, signal: AbortSignal): Promise<void> {
    const { clock, logger, random = Math.random } = this.#ports;
    if (!this.isInDoubt) this.#migration = undefined;
    const names = { from: storeName(this.#at), to: storeName(to) };
    const startedAt = new Date(clock.now()).toISOString();
    this.#status = { ...names, startedAt, phase: "connecting", error: null, digest: null, pausedMs: null };
    logger.info("Store is being moved", names);
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(retryMs * 2, MAX_RETRY_MS)) {
      try {
        await this.#attempt(to, vault, signal);
        return;
      } catch (reason) {
        this.#failed(reason, signal);
      }
      await clock
        .sleep(retryMs * (0.75 + random() / 2), { signal })
        .catch((reason: unknown) => this.#failed(reason, signal));
    }
  }

  /** Say why it was not moved. @throws the signal's reason, and `reason` when that will not pass by itself. */
  #failed(reason: unknown, signal: AbortSignal): void {
    const why: unknown = signal.aborted ? signal.reason : reason;
    const { code, message, retryable } = RksError.from(why);
    const isTriedAgain = retryable && !signal.aborted;
    const error = { code, message: this.isInDoubt ? `${message}; ${IN_DOUBT}` : message };
    if (this.#status !== undefined)
      this.#status = { ...this.#status, phase: isTriedAgain ? "waiting" : "failed", error };
    const names = { from: this.#status?.from, to: this.#status?.to };
    const level = signal.aborted ? "info" : "error";
    this.#ports.logger[level]("Store could not be moved", {
      ...names,
      code,
      reason: error.message,
      isTriedAgain,
    });
    if (!isTriedAgain) throw why;
  }

  async #attempt(to: StoreConfig, vault: MovedVault, signal: AbortSignal): Promise<void> {
    const { clock, logger, openTarget } = this.#ports;
    await this.settle(signal);
    if (this.#at === to) return;
    await this.#closeTarget();
    const target = await openTarget(to);
    this.#target = { to, storage: target };
    try {
      const names = { from: storeName(this.#at), to: storeName(to) };
      const init = { storage: this.#storage, target, ...names, place: storePlace(to), vault };
      this.#migration = new Migration({ ...init, id: randomUUID() }, { clock, logger });
      this.#setPhase("copying");
      await this.#moved(to, await this.#migration.run(signal));
    } catch (reason) {
      if (this.#migration?.hasMarked === true) this.#marked = this.#migration.id;
      if (this.#migration?.phase !== "in doubt") await this.#closeTarget();
      throw reason;
    }
  }

  async #moved(to: StoreConfig, outcome: MigrationOutcome): Promise<void> {
    const { entries, digest, pausedMs, migration } = outcome;
    const from = this.#at;
    this.#target = undefined;
    this.#marked = undefined;
    this.#at = to;
    this.#ports.logger.info("Store was moved", { to: storeName(to), migration, entries, pausedMs });
    await this.#ports.onMoved(from, to, outcome);
    if (this.#status !== undefined)
      this.#status = { ...this.#status, phase: "done", error: null, digest, pausedMs };
  }

  /** While it copies the migration knows better; it is over when what was left is put aside, too. */
  #phaseOf(phase: MoveStatus["phase"]): MoveStatus["phase"] {
    const inner = this.#migration?.phase;
    if (phase !== "copying" || inner === undefined) return phase;
    return inner === "done" ? "switching" : inner;
  }

  /** Close a store that the vault was being moved to. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closeTarget();
  }

  async #closeTarget(): Promise<void> {
    const target = this.#target;
    this.#target = undefined;
    await target?.storage[Symbol.asyncDispose]();
  }

  #setPhase(phase: MoveStatus["phase"]): void {
    if (this.#status !== undefined) this.#status = { ...this.#status, phase };
  }
}

function busy(): RksError {
  return new RksError("BUSY", "the store is being moved or backed up already", {
    suggestion: "Wait for it: `rks storage status` says how far a migration is.",
  });
}
