import { randomUUID } from "node:crypto";

import { RksError, Secret, silentLogger } from "@rk8s/protocol";
import type { Clock, Logger } from "@rk8s/protocol";

import type { Storage } from "../storage/storage.js";
import type { Answer, Backend, BackendFactory, JsonObject } from "./backend.js";
import { Barrier, vaultSealed } from "./seal/barrier.js";
import { randomKey } from "./seal/keyring.js";
import type { MountOptions } from "./mount/mount-settings.js";
import { canonicalPath } from "./request-path.js";
import { type BackendPath, operationFor, PathTable } from "./path-table.js";
import { toVaultAnswer } from "./request.js";
import type { VaultAnswer, VaultRequest, VaultResponse } from "./request.js";
import type { LineWriter } from "./audit/audit-device.js";
import { OpenSeal } from "./seal/open-seal.js";
import {
  createSeal,
  INITIALIZED_KEY,
  openSeal,
  opensSeal,
  readSeal,
  shamirConfig,
  toSecretShare,
  UnsealAttempt,
} from "./seal/seal.js";
import type { SealConfig, StoredSeal, VaultKeys } from "./seal/seal.js";
import { KEY_BYTES } from "./seal/sealed-record.js";
import { Serial } from "./serial.js";
import { splitKey } from "./seal/shamir.js";
import { ROOT_POLICY, UNLIMITED_USES } from "./token/token-entry.js";
import { type NewToken, TokenStore } from "./token/token-store.js";
import { type ServedPath, UnsealedVault } from "./unsealed-vault.js";
import { sealPaths } from "./sys/seal-paths.js";

export interface VaultInit {
  /** Belongs to the vault alone, but is the caller's to close. */
  readonly storage: Storage;
  /** Secrets engines that can be mounted, by type. */
  readonly backends?: Readonly<Record<string, BackendFactory>>;
  /** Login methods that can be mounted below `auth/`, by type. */
  readonly loginMethods?: Readonly<Record<string, BackendFactory>>;
  /** Mounts that callers cannot make, unmount or tune, with trailing slash: `rk8s-pki/`. */
  readonly reservedMounts?: readonly string[];
  /** `Vault.sequence` as it was seen last; a store that was put back to before it is not unsealed. */
  readonly minimumSequence?: number;
  /** What `sys/health` calls the version. */
  readonly version?: string;
  /** What `sys/seal-status` calls the store and when this version was built, RFC 3339. */
  readonly storageType?: string;
  readonly buildDate?: string;
  /** Which cluster this is; asked only while the vault is unsealed. */
  readonly cluster?: (vault: Vault) => ClusterName;
  /** Paths below `sys/` of the program around the vault, served while it is unsealed. */
  readonly sysPaths?: readonly BackendPath[];
  /** Called when the vault has been unsealed, before that is answered. When it fails the vault is sealed again. */
  readonly afterUnseal?: () => Promise<void>;
  /** Called before an unsealed vault is sealed, while it can still be used. */
  readonly beforeSeal?: () => Promise<void>;
  /** Called when the unseal shares were replaced; gives warnings for whoever did it. */
  readonly onRekey?: () => Promise<readonly string[]>;
}

/** How a cluster is called and told from others. */
export interface ClusterName {
  readonly name: string;
  /** A UUID. */
  readonly id: string;
}

export interface VaultPorts {
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Default: Math.random. */
  readonly random?: () => number;
  /** Where audit devices of type `file` with the path `stdout` write. */
  readonly stdout?: LineWriter | undefined;
}

/** How a new vault is sealed: a key split into shares, or a key that the caller keeps (32 bytes, see key-file.ts). */
export type InitOptions =
  { readonly shares: number; readonly threshold: number } | { readonly unsealKey: Uint8Array };

/** The only time that these are seen. */
export interface InitResult {
  /** Base64; empty for a vault with a key file. */
  readonly shares: readonly Secret<string>[];
  readonly rootToken: Secret<string>;
}

export interface VaultStatus {
  readonly type: SealConfig["type"];
  readonly initialized: boolean;
  readonly sealed: boolean;
  /** How many shares unsealing takes, and how many there are; 0 before the initialisation. */
  readonly threshold: number;
  readonly shares: number;
  /** Shares given towards the present attempt, and the attempt's name. */
  readonly progress: number;
  readonly nonce: string;
  readonly version: string;
  readonly buildDate: string;
  readonly storageType: string;
  /** Undefined while sealed. */
  readonly cluster: ClusterName | undefined;
}

/** A client token as text or wrapped. */
export type ClientToken = string | Secret<string>;
export type SealState = "sealed" | "unsealed";

type State =
  | { readonly kind: "uninitialized" }
  | { readonly kind: "sealed"; readonly seal: StoredSeal; readonly attempt: UnsealAttempt }
  | Unsealed;

interface Unsealed {
  readonly kind: "unsealed";
  readonly open: OpenSeal;
  readonly vault: UnsealedVault;
}

/**
 * Open a vault over a store, sealed or not yet initialised. Disposing it seals it.
 * @throws {RksError} STORAGE_CORRUPT when the store holds something that is not a vault.
 */
export function openVault(init: VaultInit, ports: VaultPorts): Promise<Vault> {
  return Vault.open(init, ports);
}

/** The vault: seal and barrier below, and one entry, `handle`, for every request from above. */
export class Vault implements AsyncDisposable {
  readonly #init: VaultInit;
  readonly #ports: VaultPorts;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Below `sys/`: served sealed or not. */
  readonly #sealPaths: readonly BackendPath[];
  readonly #sealTable: PathTable;
  readonly #lifecycle = new Serial();
  readonly #listeners = new Set<(state: SealState) => void>();
  #isRotating = false;
  #state: State;

  private constructor(init: VaultInit, ports: VaultPorts, seal: StoredSeal | undefined) {
    this.#init = init;
    this.#ports = ports;
    this.#clock = ports.clock;
    this.#logger = ports.logger ?? silentLogger;
    this.#sealPaths = sealPaths(this, {
      clock: this.#clock,
      operate: (action) => this.#operate(action),
      afterRekey: () => this.#afterRekey(),
    });
    this.#sealTable = new PathTable(this.#sealPaths);
    this.#state = seal === undefined ? { kind: "uninitialized" } : sealedState(seal);
  }

  /** As `openVault`. */
  static async open(init: VaultInit, ports: VaultPorts): Promise<Vault> {
    return new Vault(init, ports, await readSeal(init.storage));
  }

  /**
   * Make the vault's keys and its root token. One storage transaction: a crash leaves a vault that is initialised or
   * one that is not. The vault is sealed afterwards.
   * @throws {RksError} ALREADY_EXISTS when it is initialised, INPUT_INVALID when the key cannot be split this way.
   */
  init(options: InitOptions): Promise<InitResult> {
    return this.#lifecycle.run(() => this.#initialize(options));
  }

  /**
   * Give one share (hex or base64), or the key of a key-file seal. With enough shares the vault is unsealed.
   * @throws {RksError} VAULT_NOT_INITIALIZED; UNSEAL_KEY_INVALID when the shares are not this vault's, and then the
   *   attempt starts anew; STORAGE_CORRUPT when they are and the store cannot be trusted.
   */
  unseal(share: string | Secret<string> | Uint8Array): Promise<VaultStatus> {
    return this.#lifecycle.run(() => this.#unseal(share instanceof Secret ? share.reveal() : share));
  }

  /** Forget the shares given so far. */
  resetUnseal(): Promise<VaultStatus> {
    return this.#lifecycle.run(() => {
      if (this.#state.kind === "sealed") this.#state.attempt.reset();
      return Promise.resolve(this.status());
    });
  }

  /** Wipe the keys and close the mounts. Requests under way fail with VAULT_SEALED. Sealed already: nothing happens. */
  seal(): Promise<void> {
    return this.#lifecycle.run(() => this.#seal());
  }

  status(): VaultStatus {
    const state = this.#state;
    const config = sealOf(state)?.config;
    return {
      type: config?.type ?? "shamir",
      initialized: config !== undefined,
      sealed: state.kind !== "unsealed",
      threshold: config?.threshold ?? 0,
      shares: config?.shares ?? 0,
      progress: state.kind === "sealed" ? state.attempt.progress : 0,
      nonce: state.kind === "sealed" ? state.attempt.nonce : "",
      version: this.#init.version ?? "0.0.0",
      buildDate: this.#init.buildDate ?? "",
      storageType: this.#init.storageType ?? "",
      cluster: state.kind === "unsealed" ? this.#init.cluster?.(this) : undefined,
    };
  }

  /**
   * The encrypted store, for subsystems of the same process; the vault's own entries are under `core/`, `token/`,
   * `policy/`, `lease/`, `identity/`, `cubbyhole/` and `logical/`. What is held on to says VAULT_SEALED after the vault was sealed; ask again after the
   * next unseal.
   * @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED
   */
  get barrier(): Storage {
    return this.#unsealed().barrier;
  }

  /**
   * Number of the last durable transaction behind the barrier, for `VaultInit.minimumSequence`.
   * @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED
   */
  get sequence(): number {
    return this.#unsealed().barrier.sequence;
  }

  /** Be told of every seal and unseal, after it happened. Gives the function that ends it. */
  onSealChange(listener: (state: SealState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Every path that is served now, mount by mount, and who may call it.
   * @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED
   */
  get paths(): readonly ServedPath[] {
    return this.#unsealed().paths;
  }

  /**
   * Answer a request. Undefined stands for "done, nothing to say" on writes and deletes and for "nothing there" on
   * reads and lists.
   * @throws {RksError} PERMISSION_DENIED, NOT_FOUND when nothing is mounted there, UNSUPPORTED when the path cannot be
   *   asked that, VAULT_SEALED, VAULT_NOT_INITIALIZED, INPUT_INVALID, and whatever the engine behind the path refuses with.
   */
  async handle(request: VaultRequest): Promise<VaultResponse | undefined> {
    return (await this.answer(request))?.response;
  }

  /** `handle`, with what HTTP needs besides the envelope. */
  async answer(request: VaultRequest): Promise<VaultAnswer | undefined> {
    const { path, asked } = canonicalPath(request.operation, request.path);
    const state = this.#state;
    const id = randomUUID();
    const answer =
      state.kind === "unsealed"
        ? await state.vault.handle({ ...request, path, askedPath: asked }, id)
        : await this.#handleSealed({ ...request, path });
    return answer === undefined ? undefined : toVaultAnswer(answer, id);
  }

  /** `handle` for reading. */
  read(token: ClientToken, path: string, data?: JsonObject): Promise<VaultResponse | undefined> {
    return this.handle({ operation: "read", path, data, clientToken: token });
  }

  /** `handle` for writing. */
  write(token: ClientToken, path: string, data: JsonObject): Promise<VaultResponse | undefined> {
    return this.handle({ operation: "update", path, data, clientToken: token });
  }

  /** `handle` for listing. */
  list(token: ClientToken, path: string, data?: JsonObject): Promise<VaultResponse | undefined> {
    return this.handle({ operation: "list", path, data, clientToken: token });
  }

  /** `handle` for deleting. */
  delete(token: ClientToken, path: string, data?: JsonObject): Promise<VaultResponse | undefined> {
    return this.handle({ operation: "delete", path, data, clientToken: token });
  }

  /**
   * Mount an engine at one of the reserved paths; there already with this type: nothing happens. For the composition
   * root, which needs no token.
   * @throws {RksError} VAULT_SEALED, ALREADY_EXISTS when another type is there.
   */
  async mountReserved(path: string, type: string, options: MountOptions = {}): Promise<void> {
    await this.#unsealed().mounts.enableReserved(path, type, options);
  }

  /**
   * The engine mounted at a path, for subsystems of the same process that need no token.
   * @throws {RksError} VAULT_SEALED, NOT_FOUND, or why the engine could not be opened.
   */
  backend(path: string): Backend {
    const target = this.#unsealed().mounts.route(path.endsWith("/") ? path : `${path}/`);
    if (target !== undefined && target.path === "") return target.backend;
    throw new RksError("NOT_FOUND", `no engine is mounted at "${path}"`, { suggestion: "Mount one first." });
  }

  /**
   * Open the files of the audit devices anew, after they were moved away. Sealed: nothing happens.
   */
  async reopenAudit(): Promise<void> {
    if (this.#state.kind === "unsealed") await this.#state.vault.reopenAudit();
  }

  /**
   * Add a term to the keyring; from then on it encrypts. What older terms encrypted stays readable.
   * @throws {RksError} VAULT_SEALED
   */
  rotateKey(): Promise<{ readonly term: number }> {
    return this.#operate((open) => open.rotate());
  }

  /**
   * Whether these shares, base64, or this key of a key file open the vault now; false also when they are not enough.
   * For checking what is kept for an unattended start.
   * @throws {RksError} VAULT_NOT_INITIALIZED
   */
  async isOpenedBy(shares: readonly Secret<string>[]): Promise<boolean> {
    const seal = sealOf(this.#state);
    if (seal === undefined) throw this.#notUnsealed();
    return opensSeal(seal, shares);
  }

  /** Seal. The storage stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.seal();
  }

  /** Sealed, only what is for anyone is served. */
  #handleSealed({ operation, path, data = {}, connection = {} }: VaultRequest): Promise<Answer | undefined> {
    const match = path.startsWith(SYS) ? this.#sealTable.match(path.slice(SYS.length)) : undefined;
    const found = match === undefined ? undefined : operationFor(match.entry, operation);
    if (match === undefined || found?.access !== "anyone" || operation === "help") throw this.#notUnsealed();
    const { parameters } = match;
    return found.handle({
      operation,
      path: path.slice(SYS.length),
      parameters,
      data,
      caller: undefined,
      connection,
    });
  }

  async #initialize(options: InitOptions): Promise<InitResult> {
    if (this.#state.kind !== "uninitialized") throw alreadyInitialized();
    const { storage } = this.#init;
    const nowMs = this.#clock.now();
    const config = sealConfig(options);
    const unsealKey = "unsealKey" in options ? Uint8Array.from(options.unsealKey) : randomKey();
    const { keys, writes } = createSeal(config, unsealKey, nowMs);
    const barrier = Barrier.create(storage, keys.keyring);
    try {
      const root = TokenStore.initial(barrier, ROOT_TOKEN, this.#clock);
      const all = [...writes, ...barrier.encryptedWrites(root.writes)];
      const shares =
        config.type === "keyfile" ? [] : await splitKey(unsealKey, config.shares, config.threshold);
      // Nothing of a vault may be there: a store that lost only its seal must not get a second one.
      const { succeeded } = await storage.transaction(
        all.map(({ key }) => ({ key, modRevision: 0 })),
        all,
      );
      const seal = await readSeal(storage);
      if (!succeeded && seal === undefined) throw remains();
      if (seal === undefined) throw alreadyInitialized();
      this.#state = sealedState(seal);
      if (!succeeded) throw alreadyInitialized();
      return { shares: shares.map(toSecretShare), rootToken: new Secret(root.token) };
    } finally {
      barrier.seal();
      keys.rootKey.fill(0);
      unsealKey.fill(0);
    }
  }

  async #unseal(share: string | Uint8Array): Promise<VaultStatus> {
    const state = this.#state;
    if (state.kind === "uninitialized") throw this.#notUnsealed();
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
      { clock: this.#clock, makeRootToken: () => this.#unsealed().createToken(ROOT_TOKEN) },
    );
    const vault = await UnsealedVault.open({
      barrier,
      engines: backends,
      loginMethods,
      reservedMounts,
      clock: this.#clock,
      logger: this.#logger,
      random: this.#ports.random ?? Math.random,
      stdout: this.#ports.stdout,
      sealPaths: this.#sealPaths,
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

  /** Do something to the open seal, alone. @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED */
  #operate<T>(action: (open: OpenSeal) => Promise<T>): Promise<T> {
    return this.#lifecycle.run(() => {
      if (this.#state.kind !== "unsealed") throw this.#notUnsealed();
      return action(this.#state.open);
    });
  }

  /** Tell the program around the vault that the shares are others now; nothing may keep the answer from being given. */
  async #afterRekey(): Promise<readonly string[]> {
    try {
      const warnings = (await this.#init.onRekey?.()) ?? [];
      this.#logger.warn("Unseal shares were replaced", { warnings });
      return warnings;
    } catch (reason) {
      this.#logger.error("Rekey listener failed", { error: String(reason) });
      return [];
    }
  }

  /** After every write: once the key that encrypts has been used enough, another takes its place. */
  #rotateWhenDue(open: OpenSeal): void {
    if (this.#isRotating || !open.isRotationDue) return;
    this.#isRotating = true;
    this.rotateKey()
      .then(({ term }) => this.#logger.info("Encryption key rotated by itself", { term }))
      .catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        this.#logger.warn("Encryption key could not be rotated", { code, error: message });
      })
      .finally(() => {
        this.#isRotating = false;
      });
  }

  #unsealed(): UnsealedVault {
    if (this.#state.kind !== "unsealed") throw this.#notUnsealed();
    return this.#state.vault;
  }

  #notUnsealed(): RksError {
    if (this.#state.kind !== "uninitialized") return vaultSealed();
    return new RksError("VAULT_NOT_INITIALIZED", "the vault is not initialised", {
      suggestion: "Initialise it with rks gen certs --config FILE.",
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

const SYS = "sys/";

/** The root token of the initialisation: everything, for ever, until it is revoked. */
const ROOT_TOKEN: NewToken = {
  type: "service",
  policies: [ROOT_POLICY],
  displayName: "root",
  meta: {},
  path: "auth/token/root",
  ttlSeconds: 0,
  explicitMaxTtlSeconds: 0,
  periodSeconds: 0,
  renewable: false,
  usesLeft: UNLIMITED_USES,
  boundCidrs: [],
  entityId: "",
};

function sealOf(state: State): StoredSeal | undefined {
  if (state.kind === "uninitialized") return undefined;
  return state.kind === "sealed" ? state.seal : state.open.stored;
}

function sealedState(seal: StoredSeal): State {
  return { kind: "sealed", seal, attempt: new UnsealAttempt(seal.config) };
}

function sealConfig(options: InitOptions): SealConfig {
  if ("unsealKey" in options) {
    if (options.unsealKey.byteLength === KEY_BYTES) return { type: "keyfile", shares: 1, threshold: 1 };
    throw new TypeError(`an unseal key is ${KEY_BYTES} bytes long, not ${options.unsealKey.byteLength}`);
  }
  return shamirConfig(options.shares, options.threshold);
}

function alreadyInitialized(): RksError {
  return new RksError("ALREADY_EXISTS", "the vault is already initialised", {
    suggestion: "Unseal it with rks unseal.",
  });
}

function remains(): RksError {
  return new RksError(
    "STORAGE_CORRUPT",
    `the storage holds the remains of a vault without "${INITIALIZED_KEY}"`,
    {
      suggestion: "Restore the data folder from a backup, or name an empty one.",
    },
  );
}
