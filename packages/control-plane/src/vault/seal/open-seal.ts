import type { Storage, Write } from "@rk8s/storage";
import type { Barrier, KeyUse } from "./barrier.js";
import { randomKey } from "./keyring.js";
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
  #keys: VaultKeys;
  #rotation: RotationConfig;

  private constructor(init: OpenSealInit, ports: OpenSealPorts, rotation: RotationConfig) {
    this.#init = init;
    this.#ports = ports;
    this.#stored = init.stored;
    this.#keys = init.keys;
    this.#rotation = rotation;
    const stored = (): StoredSeal => this.#stored;
    this.rekey = new Rekey({ stored, reseal: (next, unsealKey) => this.#reseal(next, unsealKey) });
    this.rootGeneration = new RootGeneration({ stored, makeToken: ports.makeRootToken });
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

  /**
   * Add a term to the keyring; from then on it encrypts. What older terms encrypted stays readable.
   * @throws {RksError} INPUT_INVALID when there are too many terms, or why nothing could be written.
   */
  async rotate(): Promise<{ readonly term: number }> {
    const keys = { ...this.#keys, keyring: this.#keys.keyring.rotated(this.#ports.clock.now()) };
    try {
      await this.#write([keyringWrite(keys)]);
    } catch (reason) {
      keys.keyring.zero();
      throw reason;
    }
    this.#init.barrier.replaceKeyring(keys.keyring);
    this.#keys = keys;
    return { term: keys.keyring.activeTerm };
  }

  /** Wipe the root key and the shares given so far. The keyring is the barrier's. */
  close(): void {
    this.rekey.cancel();
    this.rootGeneration.cancel();
    this.#keys.rootKey.fill(0);
  }

  /** The root key is another one afterwards too, so that the old shares with an old copy of it open nothing new. */
  async #reseal(next: StoredSeal, unsealKey: Uint8Array): Promise<void> {
    const keys = { ...this.#keys, rootKey: randomKey() };
    try {
      await this.#write(sealWrites(next, unsealKey, keys));
    } catch (reason) {
      const found = await readSeal(this.#init.storage).catch(() => undefined);
      if (found === undefined || !isSameSeal(found, next)) {
        keys.rootKey.fill(0);
        throw reason;
      }
    }
    this.#keys.rootKey.fill(0);
    this.#keys = keys;
    this.#stored = next;
  }

  /** One transaction, counted by the barrier: an older state of the store is noticed. */
  async #write(writes: readonly Write[]): Promise<void> {
    const { storage, barrier } = this.#init;
    await storage.transaction([], [...writes, ...barrier.encryptedWrites([])]);
  }
}
