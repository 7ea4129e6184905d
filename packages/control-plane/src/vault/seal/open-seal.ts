import { RksError } from "@rk8s/protocol";
import { type Comparison, type Storage, untilCommitted, type Write } from "@rk8s/storage";
import type { Barrier, KeyUse } from "./barrier.js";
import { type Keyring, randomKey } from "./keyring.js";
import { Rekey } from "./rekey.js";
import { RootGeneration } from "./root-generation.js";
import {
  isRotationDue,
  readRotationConfig,
  type RotationConfig,
  rotationConfigWrite,
} from "./rotation-config.js";
import {
  isSameSeal,
  keyringWrite,
  readKeyring,
  readSeal,
  type SealConfig,
  sealWrites,
  type StoredSeal,
  type VaultKeys,
} from "./seal.js";

export interface OpenSealInit {
  /** Below the barrier, which owns the keyring. */
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly stored: StoredSeal;
  /** Wiped by `close`. */
  readonly keys: VaultKeys;
}

export interface OpenSealPorts {
  readonly clock: { now(): number };
  readonly makeRootToken: () => Promise<string>;
  /** Called when another process has replaced the root key and added a term since: this one cannot go on. */
  readonly onLockedOut: () => void;
}

/**
 * The seal while it is open: the keys in clear, and what is done to them. Its methods that change something are called
 * one after another.
 */
export class OpenSeal {
  readonly rekey: Rekey;
  readonly rootGeneration: RootGeneration;
  readonly #init: OpenSealInit;
  readonly #ports: OpenSealPorts;
  #stored: StoredSeal;
  /** The seal that the root key at hand belongs to; another process may have made another one since. */
  #openedBy: StoredSeal;
  #keys: VaultKeys;
  #rotation: RotationConfig;

  private constructor(init: OpenSealInit, ports: OpenSealPorts, rotation: RotationConfig) {
    this.#init = init;
    this.#ports = ports;
    this.#stored = init.stored;
    this.#openedBy = init.stored;
    this.#keys = init.keys;
    this.#rotation = rotation;
    const stored = (): StoredSeal => this.#stored;
    this.rekey = new Rekey({ stored, reseal: (next, unsealKey) => this.#reseal(next, unsealKey) });
    this.rootGeneration = new RootGeneration({ stored, makeToken: ports.makeRootToken });
    init.barrier.learnTermsBy(() => this.#learnTerms());
  }

  /** @throws {RksError} STORAGE_CORRUPT */
  static async open(init: OpenSealInit, ports: OpenSealPorts): Promise<OpenSeal> {
    return new OpenSeal(init, ports, await readRotationConfig(init.barrier));
  }

  /** As it is kept now. */
  get stored(): StoredSeal {
    return this.#stored;
  }

  get config(): SealConfig {
    return this.#stored.config;
  }

  get keyUse(): KeyUse {
    return this.#init.barrier.keyUse;
  }

  get rotation(): RotationConfig {
    return this.#rotation;
  }

  /** Whether the key that encrypts should be replaced now. */
  get isRotationDue(): boolean {
    return isRotationDue(this.#rotation, this.keyUse, this.#ports.clock.now());
  }

  /** Change when the key is replaced by itself. @throws {RksError} INPUT_INVALID */
  async configureRotation(config: RotationConfig): Promise<void> {
    await this.#init.barrier.transaction([], [rotationConfigWrite(config)]);
    this.#rotation = config;
  }

  /** Learn what other processes have changed of the seal. @throws {RksError} STORAGE_CORRUPT */
  async follow(): Promise<void> {
    const found = await readSeal(this.#init.storage);
    if (found !== undefined && !isSameSeal(found, this.#stored)) this.#stored = found;
    this.#rotation = await readRotationConfig(this.#init.barrier);
  }

  /**
   * Add a term to the keyring; from then on it encrypts. What older terms encrypted stays readable.
   * @throws {RksError} INPUT_INVALID when there are too many terms; UNAVAILABLE when another process has replaced the root
   *   key; CONFLICT, or why nothing could be written.
   */
  async rotate(): Promise<{ readonly term: number }> {
    return untilCommitted("the keyring is changing at this moment", async () => {
      const { keyring: present, unchanged } = await this.#present();
      let keyring: Keyring;
      try {
        keyring = present.rotated(this.#ports.clock.now());
      } finally {
        present.zero();
      }
      const keys = { ...this.#keys, keyring };
      const isWritten = await this.#write([unchanged], [keyringWrite(keys)]).catch((reason: unknown) => {
        keyring.zero();
        throw reason;
      });
      if (!isWritten) {
        keyring.zero();
        return undefined;
      }
      this.#init.barrier.replaceKeyring(keyring);
      this.#keys = keys;
      return { term: keyring.activeTerm };
    });
  }

  /** Wipe the root key and the shares given so far. The keyring is the barrier's. */
  close(): void {
    this.rekey.cancel();
    this.rootGeneration.cancel();
    this.#keys.rootKey.fill(0);
  }

  /** The root key is another one afterwards too, so that the old shares with an old copy of it open nothing new. */
  async #reseal(next: StoredSeal, unsealKey: Uint8Array): Promise<void> {
    const { keyring, unchanged } = await this.#present();
    const keys = { keyring, rootKey: randomKey() };
    try {
      if (!(await this.#write([unchanged], sealWrites(next, unsealKey, keys)))) throw changing();
    } catch (reason) {
      const found = await readSeal(this.#init.storage).catch(() => undefined);
      if (found === undefined || !isSameSeal(found, next)) {
        keys.rootKey.fill(0);
        keyring.zero();
        throw reason;
      }
    }
    this.#keys.rootKey.fill(0);
    this.#init.barrier.replaceKeyring(keyring);
    this.#keys = keys;
    this.#stored = next;
    this.#openedBy = next;
  }

  /** Another process has added a term and encrypts with it. */
  async #learnTerms(): Promise<void> {
    let keyring: Keyring;
    try {
      ({ keyring } = await this.#present());
    } catch (reason) {
      if (RksError.from(reason).code === "UNAVAILABLE") this.#ports.onLockedOut();
      throw reason;
    }
    this.#init.barrier.replaceKeyring(keyring);
    this.#keys = { ...this.#keys, keyring };
  }

  /** The keyring as it is kept now, for a change of it. @throws {RksError} UNAVAILABLE when the root key is another one. */
  async #present(): Promise<{ readonly keyring: Keyring; readonly unchanged: Comparison }> {
    const { storage } = this.#init;
    try {
      return await readKeyring(storage, this.#keys.rootKey);
    } catch (reason) {
      const found = await readSeal(storage);
      if (found === undefined || isSameSeal(found, this.#openedBy)) throw reason;
      throw new RksError("UNAVAILABLE", "another rks has replaced the unseal key of this vault", {
        suggestion: "Seal this one with `rks seal` and unseal it with the new shares.",
        cause: reason,
      });
    }
  }

  /** One transaction, counted by the barrier: an older state of the store is noticed. False: nothing was written. */
  async #write(comparisons: readonly Comparison[], writes: readonly Write[]): Promise<boolean> {
    const { storage, barrier } = this.#init;
    const { fence } = barrier.writer;
    const all = fence === undefined ? comparisons : [...comparisons, fence];
    const { succeeded } = await storage.transaction(all, [...writes, ...barrier.encryptedWrites([])]);
    return succeeded;
  }
}

function changing(): RksError {
  return new RksError("CONFLICT", "the keyring is changing at this moment", { suggestion: "Try again." });
}
