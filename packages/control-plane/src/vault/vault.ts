import { randomUUID } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Secret } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";

import type { Answer, Backend, Connection, JsonObject } from "./backend.js";
import type { InitOptions, InitResult } from "./initialization.js";
import type { Sharing } from "./members/sharing.js";
import type { MountOptions } from "./mount/mount-settings.js";
import { operationFor, PathTable } from "./path-table.js";
import type { PolicyStore } from "./policy/policy-store.js";
import { toVaultAnswer } from "./request.js";
import type { TokenHolder } from "./request-pipeline.js";
import type { VaultAnswer, VaultRequest, VaultResponse } from "./request.js";
import { canonicalPath } from "./request-path.js";
import type { Barrier } from "./seal/barrier.js";
import { readSeal, type StoredSeal } from "./seal/seal.js";
import { SealLifecycle, type SealState } from "./seal-lifecycle.js";
import { sealPaths } from "./sys/seal-paths.js";
import type { ServedPath, UnsealedVault } from "./unsealed-vault.js";
import type { VaultInit, VaultPorts } from "./vault-init.js";
import type { VaultStatus } from "./vault-status.js";

export type { InitOptions, InitResult } from "./initialization.js";
export type { SealState } from "./seal-lifecycle.js";
export type { ClusterName, VaultInit, VaultPorts } from "./vault-init.js";
export type { VaultStatus } from "./vault-status.js";

/** What the barrier knows of the records below it, without what is in them. */
export type StoreGuard = Pick<Barrier, "movedTo" | "deriveKey" | "isAuthentic">;

/** A client token as text or wrapped. */
export type ClientToken = string | Secret<string>;

/**
 * Open a vault over a store, sealed or not yet initialised. Disposing it seals it.
 * @throws {RksError} STORAGE_CORRUPT when the store holds something that is not a vault.
 */
export function openVault(init: VaultInit, ports: VaultPorts): Promise<Vault> {
  return Vault.open(init, ports);
}

/** The vault: seal and barrier below, and one entry, `handle`, for every request from above. */
export class Vault implements AsyncDisposable {
  readonly #lifecycle: SealLifecycle;
  /** Below `sys/`: served sealed or not. */
  readonly #sealTable: PathTable;

  private constructor(init: VaultInit, ports: VaultPorts, seal: StoredSeal | undefined) {
    this.#lifecycle = new SealLifecycle(
      init,
      {
        ...ports,
        sealPaths: () => this.#sealTable.entries,
        clusterName: () => init.cluster?.(this),
      },
      seal,
    );
    this.#sealTable = new PathTable(
      sealPaths(this, {
        clock: ports.clock,
        operate: (action) => this.#lifecycle.operate(action),
        afterRekey: () => this.#lifecycle.afterRekey(),
      }),
    );
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
    return this.#lifecycle.init(options);
  }

  /**
   * Give one share (hex or base64), or the key of a key-file seal. With enough shares the vault is unsealed.
   * @throws {RksError} VAULT_NOT_INITIALIZED; UNSEAL_KEY_INVALID when the shares are not this vault's, and then the
   *   attempt starts anew; STORAGE_CORRUPT when they are and the store cannot be trusted.
   */
  unseal(share: string | Secret<string> | Uint8Array): Promise<VaultStatus> {
    return this.#lifecycle.unseal(share);
  }

  /** Forget the shares given so far. */
  resetUnseal(): Promise<VaultStatus> {
    return this.#lifecycle.resetUnseal();
  }

  /** Wipe the keys and close the mounts. Requests under way fail with VAULT_SEALED. Sealed already: nothing happens. */
  seal(): Promise<void> {
    return this.#lifecycle.seal();
  }

  status(): VaultStatus {
    return this.#lifecycle.status();
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

  /**
   * For whoever copies, moves or checks the store below the barrier.
   * @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED
   */
  get storeGuard(): StoreGuard {
    return this.#unsealed().barrier;
  }

  /**
   * How this vault shares its store, for subsystems of the same process that keep what they read from `barrier`.
   * @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED
   */
  get sharing(): Sharing {
    return this.#unsealed().sharing;
  }

  /**
   * Other processes may open the vault from now on, over a store that was this one's own: it was moved. Done in the background,
   * and tried until it works or the vault is sealed. Sealed, or shared already: nothing happens.
   */
  shareStore(): void {
    this.#lifecycle.shareStore();
  }

  /** Be told of every seal and unseal, after it happened. Gives the function that ends it. */
  onSealChange(listener: (state: SealState) => void): () => void {
    return this.#lifecycle.onChange(listener);
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
    const id = randomUUID();
    const { unsealed } = this.#lifecycle;
    const answer =
      unsealed === undefined
        ? await this.#handleSealed({ ...request, path })
        : await unsealed.handle({ ...request, path, askedPath: asked }, id);
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
   * The policies, for subsystems of the same process that ask them about paths of their own.
   * @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED
   */
  get policies(): Pick<PolicyStore, "acl" | "read"> {
    return this.#unsealed().policies;
  }

  /**
   * As whom a token acts on paths that are served outside of the vault; takes one use of it. Undefined when it is not
   * alive or not to be used from there.
   * @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED
   */
  holderOf(clientToken: Secret<string>, connection: Connection): Promise<TokenHolder | undefined> {
    return this.#unsealed().holderOf(clientToken, connection);
  }

  /**
   * Open the files of the audit devices anew, after they were moved away. Sealed: nothing happens.
   */
  async reopenAudit(): Promise<void> {
    await this.#lifecycle.unsealed?.reopenAudit();
  }

  /**
   * Add a term to the keyring; from then on it encrypts. What older terms encrypted stays readable.
   * @throws {RksError} VAULT_SEALED
   */
  rotateKey(): Promise<{ readonly term: number }> {
    return this.#lifecycle.operate((open) => open.rotate());
  }

  /**
   * Whether these shares, base64, or this key of a key file open the vault now; false also when they are not enough.
   * For checking what is kept for an unattended start.
   * @throws {RksError} VAULT_NOT_INITIALIZED
   */
  isOpenedBy(shares: readonly Secret<string>[]): Promise<boolean> {
    return this.#lifecycle.isOpenedBy(shares);
  }

  /** Seal. The storage stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.seal();
  }

  /** Sealed, only what is for anyone is served. */
  #handleSealed({ operation, path, data = {}, connection = {} }: VaultRequest): Promise<Answer | undefined> {
    const match = path.startsWith(SYS) ? this.#sealTable.match(path.slice(SYS.length)) : undefined;
    const found = match === undefined ? undefined : operationFor(match.entry, operation);
    if (match === undefined || found?.access !== "anyone" || operation === "help")
      throw this.#lifecycle.notUnsealed();
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

  #unsealed(): UnsealedVault {
    const { unsealed } = this.#lifecycle;
    if (unsealed === undefined) throw this.#lifecycle.notUnsealed();
    return unsealed;
  }
}

const SYS = "sys/";
