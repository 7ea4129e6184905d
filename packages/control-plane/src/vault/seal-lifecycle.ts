import { RksError, Secret, silentLogger } from "@rk8s/protocol";
import type { Logger } from "@rk8s/protocol";
import { revisionOf } from "@rk8s/storage";

import {
  alreadyInitialized,
  initializeVault,
  type InitOptions,
  type InitResult,
  ROOT_TOKEN,
} from "./initialization.js";
import { StoreSharing } from "./members/sharing.js";
import type { BackendPath } from "./path-table.js";
import { Barrier, vaultSealed, type Writer } from "./seal/barrier.js";
import { OpenSeal } from "./seal/open-seal.js";
import { ROTATION_KEY } from "./seal/rotation-config.js";
import { isSameSeal, openSeal, opensSeal, readSeal, UnsealAttempt } from "./seal/seal.js";
import type { StoredSeal, VaultKeys } from "./seal/seal.js";
import { Serial } from "./serial.js";
import { UnsealedVault } from "./unsealed-vault.js";
import type { ClusterName, VaultInit, VaultPorts } from "./vault-init.js";
import { type VaultStatus, vaultStatus } from "./vault-status.js";

export type SealState = "sealed" | "unsealed";

/** What of the vault itself its seal needs. */
export interface SealLifecyclePorts extends VaultPorts {
  /** The paths below `sys/` that are served sealed as well. */
  readonly sealPaths: () => readonly BackendPath[];
  readonly clusterName: () => ClusterName | undefined;
}

/** Where a vault is between its initialisation and being open. */
type State =
  | { readonly kind: "uninitialized" }
  | { readonly kind: "sealed"; readonly seal: StoredSeal; readonly attempt: UnsealAttempt }
  | Unsealed;

interface Unsealed {
  readonly kind: "unsealed";
  readonly open: OpenSeal;
  readonly vault: UnsealedVault;
  readonly sharing: StoreSharing;
}

/** Initialises, unseals and seals a vault, one after another, and holds what is open in between. */
export class SealLifecycle {
  readonly #init: VaultInit;
  readonly #ports: SealLifecyclePorts;
  readonly #logger: Logger;
  readonly #serial = new Serial();
  readonly #listeners = new Set<(state: SealState) => void>();
  #isRotating = false;
  #state: State;

  /** Over the seal that was read from the store; undefined: there is none yet. */
  constructor(init: VaultInit, ports: SealLifecyclePorts, seal: StoredSeal | undefined) {
    this.#init = init;
    this.#ports = ports;
    this.#logger = ports.logger ?? silentLogger;
    this.#state = seal === undefined ? { kind: "uninitialized" } : sealedState(seal);
  }

  /** As `Vault.init`. */
  init(options: InitOptions): Promise<InitResult> {
    return this.#serial.run(() => this.#initialize(options));
  }

  /** As `Vault.unseal`. */
  unseal(share: string | Secret<string> | Uint8Array): Promise<VaultStatus> {
    return this.#serial.run(() => this.#unseal(share instanceof Secret ? share.reveal() : share));
  }

  /** As `Vault.resetUnseal`. */
  resetUnseal(): Promise<VaultStatus> {
    return this.#serial.run(() => {
      if (this.#state.kind === "sealed") this.#state.attempt.reset();
      return Promise.resolve(this.status());
    });
  }

  /** As `Vault.seal`. */
  seal(): Promise<void> {
    return this.#serial.run(() => this.#seal());
  }

  status(): VaultStatus {
    const state = this.#state;
    const { version, buildDate, storageType } = this.#init;
    const sealed = state.kind !== "unsealed";
    return vaultStatus({
      config: sealOf(state)?.config,
      attempt: state.kind === "sealed" ? state.attempt : undefined,
      sealed,
      version,
      buildDate,
      storageType: storageType?.(),
      cluster: sealed ? undefined : this.#ports.clusterName(),
    });
  }

  /** What is there only while the vault is unsealed; undefined while it is not. */
  get unsealed(): UnsealedVault | undefined {
    return this.#state.kind === "unsealed" ? this.#state.vault : undefined;
  }

  /** As `Vault.isOpenedBy`. */
  async isOpenedBy(shares: readonly Secret<string>[]): Promise<boolean> {
    const seal = sealOf(this.#state);
    if (seal === undefined) throw this.notUnsealed();
    return opensSeal(seal, shares);
  }

  /** As `Vault.onSealChange`. */
  onChange(listener: (state: SealState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Do something to the open seal, alone. @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED */
  operate<T>(action: (open: OpenSeal) => Promise<T>): Promise<T> {
    return this.#serial.run(async () => {
      if (this.#state.kind !== "unsealed") throw this.notUnsealed();
      const { open } = this.#state;
      if (this.#isShared) await open.follow();
      return action(open);
    });
  }

  /** As `Vault.shareStore`. Waits for nothing: whoever unseals or seals may be waiting for who calls this. */
  shareStore(): void {
    if (this.#state.kind !== "unsealed") return;
    const { sharing, vault, open } = this.#state;
    sharing.begin(vault.barrier, () => this.#followSeal(open));
  }

  /** Tell the program around the vault that the shares are others now; nothing may keep the answer from being given. */
  async afterRekey(): Promise<readonly string[]> {
    try {
      const warnings = (await this.#init.onRekey?.()) ?? [];
      this.#logger.warn("Unseal shares were replaced", { warnings });
      return warnings;
    } catch (reason) {
      this.#logger.error("Rekey listener failed", { error: String(reason) });
      return [];
    }
  }

  /** Why what takes an unsealed vault is refused. */
  notUnsealed(): RksError {
    if (this.#state.kind !== "uninitialized") return vaultSealed();
    return new RksError("VAULT_NOT_INITIALIZED", "the vault is not initialised", {
      suggestion: "Initialise it with rks gen certs --config FILE.",
    });
  }

  async #initialize(options: InitOptions): Promise<InitResult> {
    if (this.#state.kind !== "uninitialized") throw alreadyInitialized();
    const { seal, result } = await initializeVault(this.#init.storage, options, this.#ports.clock);
    this.#state = sealedState(seal);
    if (result === undefined) throw alreadyInitialized();
    return result;
  }

  async #unseal(share: string | Uint8Array): Promise<VaultStatus> {
    await this.#followSealed();
    const state = this.#state;
    if (state.kind === "uninitialized") throw this.notUnsealed();
    if (state.kind === "unsealed") return this.status();
    const unsealKey = await state.attempt.add(share);
    if (unsealKey === undefined) return this.status();
    let keys: VaultKeys;
    try {
      keys = await openSeal(this.#init.storage, state.seal, unsealKey);
    } finally {
      unsealKey.fill(0);
    }
    try {
      this.#state = await this.#open(state.seal, keys);
    } catch (reason) {
      keys.keyring.zero();
      keys.rootKey.fill(0);
      throw reason;
    }
    try {
      await this.#init.afterUnseal?.();
    } catch (reason) {
      await this.#seal();
      throw reason;
    }
    this.#logger.info("Vault unsealed", { term: keys.keyring.activeTerm });
    this.#notify("unsealed");
    return this.status();
  }

  /** Another process may have initialised or rekeyed the vault since; an attempt that has begun goes on as it began. */
  async #followSealed(): Promise<void> {
    const state = this.#state;
    if (!this.#isShared || state.kind === "unsealed") return;
    if (state.kind === "sealed" && state.attempt.progress > 0) return;
    const found = await readSeal(this.#init.storage);
    if (found === undefined || (state.kind === "sealed" && isSameSeal(found, state.seal))) return;
    this.#state = sealedState(found);
  }

  async #open(stored: StoredSeal, keys: VaultKeys): Promise<Unsealed> {
    const { storage, host, whyLeft } = this.#init;
    const sharing = new StoreSharing({
      storage,
      host,
      whyLeft,
      onLeft: (why) => this.#left(why),
      clock: this.#ports.clock,
      logger: this.#logger,
    });
    try {
      if (!this.#isShared) return await this.#openWith(stored, keys, sharing);
      // What is read from here on is followed.
      const revision = await revisionOf(storage);
      const writer = await sharing.join();
      const why = await whyLeft?.();
      if (why?.code === "STORAGE_MOVED") throw why;
      const unsealed = await this.#openWith(stored, keys, sharing, writer);
      sharing.listen(unsealed.vault.barrier, revision, () => this.#followSeal(unsealed.open));
      return unsealed;
    } catch (reason) {
      await sharing[Symbol.asyncDispose]();
      throw reason;
    }
  }

  async #openWith(
    stored: StoredSeal,
    keys: VaultKeys,
    sharing: StoreSharing,
    writer?: Writer,
  ): Promise<Unsealed> {
    const { storage, minimumSequence, backends = {}, loginMethods = {}, reservedMounts = [] } = this.#init;
    const { clock } = this.#ports;
    const logger = this.#logger;
    const barrier = await Barrier.unseal(storage, keys.keyring, minimumSequence, writer);
    const open = await OpenSeal.open(
      { storage, barrier, stored, keys },
      { clock, makeRootToken: () => this.#makeRootToken(), onLockedOut: () => this.#lockedOut() },
    );
    const vault = await UnsealedVault.open({
      barrier,
      sharing,
      host: this.#init.host,
      isShared: () => this.#isShared,
      engines: backends,
      loginMethods,
      reservedMounts,
      clock,
      logger,
      random: this.#ports.random ?? Math.random,
      stdout: this.#ports.stdout,
      sealPaths: this.#ports.sealPaths(),
      sysPaths: this.#init.sysPaths ?? [],
    });
    barrier.afterWrite(() => this.#rotateWhenDue(open));
    barrier.afterMove(() => sharing.moved());
    sharing.changes.on(ROTATION_KEY, () => this.#followSeal(open));
    sharing.changes.onGap(() => this.#followSeal(open));
    return { kind: "unsealed", open, vault, sharing };
  }

  get #isShared(): boolean {
    return this.#init.shared?.() === true;
  }

  #followSeal(open: OpenSeal): void {
    open.follow().catch((reason: unknown) => {
      this.#logger.warn("The seal could not be read again", { reason: RksError.from(reason).message });
    });
  }

  /** Another process encrypts with a key that this one cannot get at: it would serve less and less of the vault. */
  #lockedOut(): void {
    this.#logger.error(
      "The unseal key was replaced by another rks; this one is sealed and needs the new shares",
    );
    void this.seal();
  }

  /** What is still here is old: tokens and nodes that were revoked where the vault is now would be served from it. */
  #left({ code, message: reason, suggestion: remedy }: RksError): void {
    this.#logger.error("The vault left this store while this rks was not heard; it is sealed", {
      code,
      reason,
      remedy,
    });
    void this.seal();
  }

  async #seal(): Promise<void> {
    const state = this.#state;
    if (state.kind === "sealed") state.attempt.reset();
    if (state.kind !== "unsealed") return;
    // Whatever becomes of what is around the vault: it is sealed.
    await this.#init.beforeSeal?.().catch((reason: unknown) => {
      this.#logger.error("What runs on the vault could not be ended", { error: String(reason) });
    });
    this.#state = sealedState(state.open.stored);
    state.open.close();
    // Nothing is read again for a vault that closes; the place among the others is kept until its last write.
    await state.sharing.deafen();
    await state.vault[Symbol.asyncDispose]();
    await state.sharing[Symbol.asyncDispose]();
    this.#logger.info("Vault sealed");
    this.#notify("sealed");
  }

  #makeRootToken(): Promise<string> {
    if (this.#state.kind !== "unsealed") throw this.notUnsealed();
    return this.#state.vault.createToken(ROOT_TOKEN);
  }

  /** After every write: once the key that encrypts has been used enough, another takes its place. */
  #rotateWhenDue(open: OpenSeal): void {
    if (this.#isRotating || !open.isRotationDue) return;
    this.#isRotating = true;
    this.operate(() => open.rotate())
      .then(({ term }) => this.#logger.info("Encryption key rotated by itself", { term }))
      .catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        this.#logger.warn("Encryption key could not be rotated", { code, error: message });
      })
      .finally(() => {
        this.#isRotating = false;
      });
  }

  #notify(state: SealState): void {
    for (const listener of this.#listeners) {
      try {
        listener(state);
      } catch (reason) {
        this.#logger.error("Seal listener failed", { state, error: String(reason) });
      }
    }
  }
}

function sealOf(state: State): StoredSeal | undefined {
  if (state.kind === "uninitialized") return undefined;
  return state.kind === "sealed" ? state.seal : state.open.stored;
}

function sealedState(seal: StoredSeal): State {
  return { kind: "sealed", seal, attempt: new UnsealAttempt(seal.config) };
}
