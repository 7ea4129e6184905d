import { RksError, Secret, silentLogger } from "@rk8s/protocol";
import type { Logger } from "@rk8s/protocol";

import {
  alreadyInitialized,
  initializeVault,
  type InitOptions,
  type InitResult,
  ROOT_TOKEN,
} from "./initialization.js";
import type { BackendPath } from "./path-table.js";
import { Barrier, vaultSealed } from "./seal/barrier.js";
import { OpenSeal } from "./seal/open-seal.js";
import { openSeal, opensSeal, UnsealAttempt } from "./seal/seal.js";
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
      storageType: typeof storageType === "function" ? storageType() : storageType,
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
    return this.#serial.run(() => {
      if (this.#state.kind !== "unsealed") throw this.notUnsealed();
      return action(this.#state.open);
    });
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

  async #open(stored: StoredSeal, keys: VaultKeys): Promise<Unsealed> {
    const { storage, minimumSequence, backends = {}, loginMethods = {}, reservedMounts = [] } = this.#init;
    const barrier = await Barrier.unseal(storage, keys.keyring, minimumSequence);
    const open = await OpenSeal.open(
      { storage, barrier, stored, keys },
      { clock: this.#ports.clock, makeRootToken: () => this.#makeRootToken() },
    );
    const vault = await UnsealedVault.open({
      barrier,
      engines: backends,
      loginMethods,
      reservedMounts,
      clock: this.#ports.clock,
      logger: this.#logger,
      random: this.#ports.random ?? Math.random,
      stdout: this.#ports.stdout,
      sealPaths: this.#ports.sealPaths(),
      sysPaths: this.#init.sysPaths ?? [],
    });
    barrier.afterWrite(() => this.#rotateWhenDue(open));
    return { kind: "unsealed", open, vault };
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
    await state.vault[Symbol.asyncDispose]();
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
