import { type Clock, LinkedAbort, type Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { BackupHeader } from "../backup/backup-file.js";
import { takeBackup } from "../backup/take-backup.js";
import type { StoreConfig } from "../config/config.js";
import { assertAlone } from "../migration/alone.js";
import type { MigrationOutcome } from "../migration/migration.js";
import { type MovedVault, StoreMover, type MoveStatus } from "../migration/store-mover.js";
import { SwitchableStorage } from "../migration/switchable-storage.js";
import { chooseStore, moved, type StoreOpeners, type StoreTrial } from "../store/choose-store.js";
import { homeAt, readHome, writeHome } from "../store/home-file.js";
import { archiveStore, putInPlace } from "../store/local-store.js";
import type { Stayed } from "../store/settle-switch.js";
import type { StoreCredentials } from "../store/store-credentials.js";
import { storeName } from "../store/store-name.js";
import {
  isAuthentic,
  readState,
  sameState,
  type StoredState,
  type StoreState,
  type StoreStateOf,
  stateWrite,
  untrueState,
} from "../store/store-state.js";
import { type StoreReport, verifyStore } from "../store/verify-store.js";
import type { VaultFolder } from "./vault-folder.js";

/** What an unsealed vault waits for, when it is not known in which of two stores it is. */
const SETTLE_MS = 5_000;

/** That a backup was restored. */
export interface Restored {
  /** When the backup was made, or when the store became one that may be older than another. */
  readonly from: string;
  /** That other one, which was given up; undefined: there was a backup. */
  readonly gaveUp: string | undefined;
  readonly epoch: number;
  readonly isUnsettled: boolean;
  readonly adoptsNodes: boolean;
}

export interface VaultStoresPorts extends StoreOpeners {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called when others may have the store from now on, maybe not for the first time. It must not throw. */
  readonly onShared?: (() => void) | undefined;
}

/** Where the store is, for people and programs. */
export interface StoreStatus {
  readonly type: StoreConfig["type"];
  readonly store: string;
  /** The addresses of an etcd that are used: the config's, then others that its members have named. Empty for any other store. */
  readonly members: readonly string[];
  readonly epoch: number;
  /** When the backup was made from which it was restored last; null: it never was, or was moved since. */
  readonly restoredFrom: string | null;
  /** The store that was given up then; null: there was a backup, or nothing. */
  readonly gaveUp: string | null;
  /** Where another rks has moved the vault since; then this one is sealed, and its config is to be changed. */
  readonly movedTo: string | null;
  readonly migration: MoveStatus | null;
}

/** The store of a vault: found, opened, moved to where the config wants it, checked. Owns it. */
export class VaultStores implements AsyncDisposable {
  /** What the vault stands on, wherever it is. */
  readonly storage: SwitchableStorage;
  readonly #folder: VaultFolder;
  readonly #ports: VaultStoresPorts;
  readonly #mover: StoreMover;
  /** Where the config wants the store, as long as it is not there. */
  #moveTo: StoreConfig | undefined;
  readonly #stayed: Stayed | undefined;
  #epoch = 0;
  #restored: Restored | undefined;
  /** Where another process has moved the vault; it cannot be served from here any more. */
  #movedTo: string | undefined;
  /** Ends when the vault is sealed. */
  #stop = new AbortController();

  private constructor(
    folder: VaultFolder,
    chosen: Awaited<ReturnType<typeof chooseStore>>,
    state: StoreState | undefined,
    ports: VaultStoresPorts,
  ) {
    this.#folder = folder;
    this.#ports = ports;
    this.#moveTo = chosen.moveTo;
    this.#stayed = chosen.stayed;
    this.#learn(state);
    this.storage = new SwitchableStorage(chosen.storage);
    const { clock, logger, openFolder, openExternal } = ports;
    this.#mover = new StoreMover(this.storage, chosen.at, {
      clock,
      logger,
      openTarget: (to) => (to.type === "local" ? openFolder(folder.incomingStore) : openExternal(to)),
      onMoved: (from, to, outcome) => this.#moved(from, to, outcome),
    });
  }

  /** @throws {RksError} as `chooseStore`. */
  static async open(wanted: StoreConfig, folder: VaultFolder, ports: VaultStoresPorts): Promise<VaultStores> {
    const chosen = await chooseStore(wanted, folder, ports, ports.clock.now());
    try {
      return new VaultStores(folder, chosen, (await readState(chosen.storage))?.state, ports);
    } catch (reason) {
      await chosen.storage[Symbol.asyncDispose]();
      throw reason;
    }
  }

  /** Where the store is now. */
  get type(): StoreConfig["type"] {
    return this.#mover.at.type;
  }

  /** Whether others may have the store. While it is not known in which one the vault is, nobody can take a place in either. */
  get isShared(): boolean {
    return this.type !== "local" && !this.#mover.isInDoubt;
  }

  get status(): StoreStatus {
    const { at, status } = this.#mover;
    const restoredFrom = this.#restored?.from ?? null;
    return {
      type: at.type,
      store: storeName(at),
      members: this.#ports.membersOf(this.storage.current),
      epoch: this.#epoch,
      restoredFrom,
      gaveUp: this.#restored?.gaveUp ?? null,
      movedTo: this.#movedTo ?? null,
      migration: status ?? null,
    };
  }

  /** A restore after which the vault has not served yet: what must not come back with it is to be voided first. */
  get unsettledRestore(): Restored | undefined {
    return this.#restored?.isUnsettled === true ? this.#restored : undefined;
  }

  /** What must not come back with a restored backup was voided. @throws {RksError} CONFLICT, and as the store does. */
  async settleRestore({ guard }: MovedVault): Promise<void> {
    const stored = await readState(this.storage.current);
    if (stored?.state.state !== "active") return;
    const { isUnsettled: _, ...settled } = stored.state;
    const write = stateWrite(settled, guard);
    await this.storage.current.transaction([sameState(stored)], [write]);
    this.#restored = this.#restored && { ...this.#restored, isUnsettled: false };
  }

  /**
   * Write everything into a file, as it is at one moment. While the store is being moved that is refused, and the other way round.
   * It ends when the vault is sealed.
   * @throws {RksError} BUSY; UNAVAILABLE when the vault is sealed; and as `takeBackup`.
   */
  async backup(file: string, { id, guard }: MovedVault, signal: AbortSignal): Promise<BackupHeader> {
    using ends = new LinkedAbort(signal, this.#stop.signal);
    ends.signal.throwIfAborted();
    return await this.#mover.alone(() =>
      takeBackup(
        {
          storage: this.storage.current,
          vault: id,
          epoch: this.#epoch,
          guard,
          file,
          vaultFolder: this.#folder.folder,
        },
        this.#ports,
        ends.signal,
      ),
    );
  }

  /**
   * The vault was unsealed and is about to serve: check that the store is its own and no older than it was.
   * @throws {RksError} STORAGE_CORRUPT; UNAVAILABLE while it is not known in which of two stores the vault is.
   */
  async begin(vault: MovedVault): Promise<void> {
    this.#stop = new AbortController();
    if (this.#mover.isInDoubt) {
      await this.#settle();
      if (this.isShared) this.#ports.onShared?.();
    }
    await this.#check(vault);
    this.#movedTo = undefined;
  }

  /**
   * Begin to move the store to where the config wants it, unless it is there.
   * @throws {RksError} STORAGE_FOREIGN and whatever else keeps it from ever being moved there.
   */
  async moveAsConfigured(vault: MovedVault): Promise<void> {
    if (this.#moveTo === undefined) return;
    await this.#mover.start(this.#moveTo, vault, this.#stop);
  }

  /** As `VaultInit`: STORAGE_MOVED, UNAVAILABLE. What this process does to the store itself is none. */
  async whyLeft(): Promise<RksError | undefined> {
    const state = (await readState(this.storage.current))?.state;
    if (state === undefined) return undefined;
    if ("migration" in state && this.#mover.hasTried(state.migration ?? "")) return undefined;
    return this.#whyNoVault(state) ?? (state.state === "switching" ? switchingNow(state) : undefined);
  }

  /** What rks shows to its store has changed: show the new one. What does not work is logged. */
  async useCredentials(): Promise<void> {
    try {
      await this.#ports.useCredentials();
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      this.#ports.logger.error("The store's new certificate could not be used", { code, reason: message });
    }
  }

  /** As `StoreOpeners.tryCredentials`. */
  tryCredentials(make: () => Promise<StoreCredentials>): Promise<StoreTrial> {
    return this.#ports.tryCredentials(make);
  }

  /** The vault is about to be sealed: stop moving it, and a backup. Resolves when nothing is done to the store any more. */
  async end(): Promise<void> {
    this.#stop.abort(new RksError("UNAVAILABLE", "the vault is being sealed"));
    await this.#mover.idle();
  }

  /**
   * Begin to move the store, because somebody asks for it; `status` tells how it goes.
   * @throws {RksError} BUSY, ALREADY_EXISTS when it is there, CONFLICT while another rks has it open, STORAGE_FOREIGN and whatever else keeps it from being moved.
   */
  async migrate(to: StoreConfig, vault: MovedVault): Promise<StoreStatus> {
    const { at } = this.#mover;
    if (storeName(to) === storeName(at)) {
      throw new RksError("ALREADY_EXISTS", `the store is at ${storeName(to)} already`, {
        suggestion: "Nothing is to be done.",
      });
    }
    const check = (): Promise<void> => assertAlone(this.storage, vault, { isFirstLook: true });
    await this.#mover.start(to, vault, { signal: this.#stop.signal, check });
    return this.status;
  }

  /** Read every entry and check that it is what this vault wrote. @throws {RksError} as the store does. */
  verify({ guard }: Pick<MovedVault, "guard">, signal: AbortSignal): Promise<StoreReport> {
    return verifyStore(this.storage, guard, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    await this.storage[Symbol.asyncDispose]();
    await this.#mover[Symbol.asyncDispose]();
  }

  async #settle(): Promise<void> {
    const over = new AbortController();
    const { clock } = this.#ports;
    const settled = this.#mover.settle(over.signal).finally(() => over.abort());
    await Promise.race([settled, clock.sleep(SETTLE_MS, { signal: over.signal }).catch(() => undefined)]);
    over.abort(stillInDoubt(this.#mover.status?.to ?? ""));
    await settled;
  }

  async #check(vault: MovedVault): Promise<void> {
    const stored = await readState(this.storage.current);
    if (stored !== undefined && (stored.state.vault !== vault.id || !isAuthentic(stored, vault.guard))) {
      throw untrueState();
    }
    await this.#assertHere(stored, vault);
    this.#learn(stored?.state);
    const home = await readHome(this.#folder.home);
    if (home !== undefined && home.vault === vault.id && this.#epoch < home.epoch) {
      throw new RksError(
        "STORAGE_CORRUPT",
        `the store was put back to epoch ${this.#epoch}, this host has seen ${home.epoch}`,
        { suggestion: "Bring the newer store back, or restore a backup with `rks storage restore FILE`." },
      );
    }
    const { at } = this.#mover;
    const isKept = home?.store === storeName(at) && home.epoch === this.#epoch && home.vault === vault.id;
    if (!isKept && (at.type !== "local" || this.#epoch > 0 || home !== undefined)) {
      await this.#writeHome(at, vault.id);
    }
  }

  /** Of a store that is left for good, or is being filled anew. */
  #whyNoVault(state: StoreState): RksError | undefined {
    if (state.state === "copying" || state.state === "restoring") return filledAnew(state);
    if (state.state !== "moved") return undefined;
    this.#movedTo = state.to;
    return moved(state.to, state.at);
  }

  /** The store may have been left since it was chosen, by another process; where it was nearly left, it says so no more. */
  async #assertHere(stored: StoredState | undefined, { guard }: MovedVault): Promise<void> {
    const state = stored?.state;
    const why = state && this.#whyNoVault(state);
    if (why !== undefined) throw why;
    if (state?.state !== "switching") return;
    const { migration, to, at, digest: _, entries: __, ...rest } = state;
    if (!this.#mover.hasSettled(migration)) {
      if (migration !== this.#stayed?.migration) throw switchingNow(state);
      if (!isAuthentic(this.#stayed.evidence, guard)) throw untrueState();
    }
    const write = stateWrite({ ...rest, state: "leaving", migration, to, at }, guard);
    const { succeeded } = await this.storage.current.transaction([sameState(stored)], [write]);
    if (!succeeded) throw switchingNow(state);
    this.#ports.logger.warn("A migration was cut off; the vault is where it was", { to, migration });
  }

  /** The vault is in another store: the folder must say so, and what was left is put aside. Never rejects. */
  async #moved(from: StoreConfig, to: StoreConfig, outcome: MigrationOutcome): Promise<void> {
    const { logger, clock } = this.#ports;
    if (this.#moveTo === to || to.type === "local") this.#moveTo = undefined;
    this.#epoch = outcome.epoch;
    this.#restored = undefined;
    if (this.isShared) this.#ports.onShared?.();
    try {
      try {
        if (to.type === "local") await putInPlace(this.#folder, clock.now());
        await this.#writeHome(to, outcome.vault);
      } finally {
        const left: Storage = await outcome.left;
        await left[Symbol.asyncDispose]();
      }
      if (from.type !== "local") return;
      const backup = await archiveStore(this.#folder, clock.now());
      logger.info("The store that was left is kept, sealed", { backup });
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      logger.error("The store that was left could not be put aside; the next start does it", {
        code,
        reason: message,
      });
    }
  }

  /** What the store says of itself; before the vault is unsealed nobody has verified it. */
  #learn(state: StoreState | undefined): void {
    this.#epoch = state?.epoch ?? 0;
    this.#restored = restoredOf(state);
  }

  async #writeHome(at: StoreConfig, vault: string): Promise<void> {
    const home = homeAt(at, { vault, epoch: this.#epoch }, this.#ports.clock.now());
    await writeHome(this.#folder.home, home);
  }
}

function restoredOf(state: StoreState | undefined): Restored | undefined {
  if (state?.state !== "active" || state.restoredFrom === undefined) return undefined;
  const { restoredFrom: from, gaveUp, epoch, isUnsettled = false, adoptsNodes = false } = state;
  return { from, gaveUp, epoch, isUnsettled, adoptsNodes };
}

function switchingNow({ to, at }: StoreStateOf<"switching">): RksError {
  return new RksError("UNAVAILABLE", `another rks is moving the vault to ${to} since ${at}`, {
    suggestion:
      "Wait for it, then start with a config that names that store; if it is gone, start this rks anew: that asks the other store.",
  });
}

function filledAnew({ at }: StoreStateOf<"copying" | "restoring">): RksError {
  return new RksError("UNAVAILABLE", `another rks is filling this store anew since ${at}`, {
    suggestion: "Wait for it, then start with a config that names the store in which the vault is then.",
  });
}

function stillInDoubt(to: string): RksError {
  return new RksError(
    "UNAVAILABLE",
    `the store at ${to}, which knows whether the vault is there, does not answer`,
    {
      suggestion: "Bring that store back, then unseal again.",
    },
  );
}
