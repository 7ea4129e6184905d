import { socketAnswers, systemClock } from "@rk8s/host";
import {
  aborted,
  type Clock,
  LinkedAbort,
  type Logger,
  RksError,
  type Secret,
  silentLogger,
  type Transport,
} from "@rk8s/protocol";
import { createQuicTransport } from "@rk8s/quic";
import type { ChainHead } from "./audit/chain-link.js";
import type { BackupHeader } from "./backup/backup-file.js";
import { formatHostPort } from "./config/address.js";
import type { ControlPlaneConfig, HostPort, StoreConfig } from "./config/config.js";
import { clusterRoutes } from "./http/cluster-routes.js";
import type { Endpoints, OperatorApi } from "./http/operator-api.js";
import { metricsPath } from "./http/documents.js";
import { Metrics } from "./http/metrics.js";
import { storageRoutes } from "./http/storage-routes.js";
import { serveSocket } from "./http/socket-server.js";
import { agentAddress } from "./lifecycle/agent-address.js";
import { settleRestore, type SettlePorts } from "./backup/settle-restore.js";
import { clusterCaOf, openClusterVault } from "./lifecycle/cluster-vault.js";
import { Disposables } from "./lifecycle/disposables.js";
import { lockFolder } from "./lifecycle/folder-lock.js";
import { hostId } from "./lifecycle/host-id.js";
import { HttpsListener } from "./lifecycle/https-listener.js";
import { assertInitialized, finishInitialization } from "./lifecycle/initialize.js";
import { type Serving, startServing, type StoreFilesOwner } from "./lifecycle/serving.js";
import { rekeyWarnings, type UnattendedStart, unattendedStart } from "./lifecycle/unattended-start.js";
import { readUnsealMaterial } from "./lifecycle/unseal-material.js";
import { type VaultFolder, vaultFolderAt } from "./lifecycle/vault-folder.js";
import { vaultIdOf } from "./lifecycle/vault-id.js";
import { type StoreStatus, VaultStores } from "./lifecycle/vault-stores.js";
import type { MovedVault } from "./migration/store-mover.js";
import type { JoinCheck } from "./join/join-check.js";
import type { ClusterFigures } from "./server/cluster-figures.js";
import type { Cluster } from "./server/cluster.js";
import type { StoreOpeners } from "./store/choose-store.js";
import { storeName } from "./store/store-name.js";
import { storeOpeners } from "./store/open-store.js";
import type { StoreReport } from "./store/verify-store.js";
import type { LineWriter } from "./vault/audit/audit-device.js";
import type { Connection } from "./vault/backend.js";
import type { VaultAnswer, VaultRequest } from "./vault/request.js";
import type { TokenHolder } from "./vault/request-pipeline.js";
import type { Vault, VaultStatus } from "./vault/vault.js";

/** What operators' requests get to end by themselves. */
const SOCKET_DRAIN_MS = 1_000;

export interface ControlPlanePorts {
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  /** Default: QUIC. */
  readonly transport?: Transport | undefined;
  /** Conditions on who may join, beyond the token's own; all of them must be met, in this order. */
  readonly joinChecks?: readonly JoinCheck[] | undefined;
  /** Where audit devices of type `stdout` write; none: they cannot be enabled. */
  readonly stdout?: LineWriter | undefined;
  /** How stores are opened. Default: LMDB, etcd, and databases where `@rk8s/storage-sql` is installed. */
  readonly stores?: StoreOpeners | undefined;
}

/**
 * Open the control plane of an initialised vault: takes the folder's lock, opens the store, unseals from what
 * initialisation left (else it waits sealed), serves agents while unsealed and operators on the unix socket always.
 * @throws {RksError} VAULT_NOT_INITIALIZED; ALREADY_RUNNING with the pid of the process that has the folder; CONFIG_INVALID,
 * STORAGE_FULL, STORAGE_UNWRITABLE, STORAGE_CORRUPT; UNAVAILABLE when the address cannot be bound.
 */
export async function createControlPlane(
  config: ControlPlaneConfig,
  ports: ControlPlanePorts = {},
): Promise<ControlPlane> {
  return ControlPlane.open(config, ports);
}

interface Parts {
  readonly config: ControlPlaneConfig;
  readonly folder: VaultFolder;
  readonly vault: Vault;
  readonly stores: VaultStores;
  readonly host: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly transport: Transport;
  readonly joinChecks: readonly JoinCheck[];
  readonly owned: Disposables;
  readonly metrics: Metrics;
}

/** A running control plane. It serves from the moment it is opened until it is disposed. */
export class ControlPlane implements OperatorApi, AsyncDisposable {
  readonly startedAt: string;
  readonly #parts: Parts;
  readonly #failure = new AbortController();
  #serving: Serving | undefined;
  /** Undefined: the config wants none. */
  readonly #https: HttpsListener | undefined;
  #socket: AsyncDisposable | undefined;
  /** Agents know the port that was picked first: it stays the same when the vault is sealed in between. */
  #address: HostPort;
  #waiting: (() => void)[] = [];

  private constructor(parts: Parts) {
    const { config, clock, logger, metrics } = parts;
    const { httpAddress: address, httpTls: tls, quicAddress } = config;
    this.#parts = parts;
    this.#address = quicAddress;
    this.startedAt = new Date(clock.now()).toISOString();
    if (address !== undefined) {
      const init = { address, tls, routes: clusterRoutes(this), api: this };
      this.#https = new HttpsListener(init, { clock, logger, metrics });
    }
  }

  /** As `createControlPlane`. */
  static async open(config: ControlPlaneConfig, ports: ControlPlanePorts = {}): Promise<ControlPlane> {
    const { clock = systemClock, logger = silentLogger, joinChecks = [] } = ports;
    const folder = vaultFolderAt(config.vaultFolder);
    if (config.store.type === "local") await assertInitialized(folder);
    const owned = new Disposables({ logger });
    try {
      owned.use(await lockFolder(folder.lock, { answers: () => socketAnswers(folder.socket) }));
      await finishInitialization(folder);
      const openers = ports.stores ?? storeOpeners(folder, { clock, logger });
      const stores = owned.use(
        await VaultStores.open(config.store, folder, {
          ...openers,
          clock,
          logger,
          onShared: () => late.controlPlane?.vault.shareStore(),
        }),
      );
      // The vault tells the control plane of its seal, which needs the vault first.
      const late: { controlPlane?: ControlPlane } = {};
      const metrics = new Metrics({
        isSealed: () => late.controlPlane?.sealed ?? true,
        isServing: () => late.controlPlane?.isServing ?? false,
        figures: () => late.controlPlane?.figures(),
        now: () => clock.now(),
      });
      const host = await hostId(folder.hostId);
      const hooks = {
        host,
        sysPaths: [metricsPath(metrics)],
        afterUnseal: async () => {
          if (late.controlPlane !== undefined) await late.controlPlane.#startServing();
        },
        onRekey: async () =>
          late.controlPlane === undefined ? [] : rekeyWarnings(config.seal, folder, late.controlPlane.vault),
        beforeSeal: async () => {
          if (late.controlPlane !== undefined) await late.controlPlane.#stopServing();
        },
      };
      const vault = owned.use(await openClusterVault(stores, { clock, logger, stdout: ports.stdout }, hooks));
      const transport = ports.transport ?? createQuicTransport({ clock, logger });
      const controlPlane = new ControlPlane({
        config,
        folder,
        vault,
        stores,
        host,
        clock,
        logger,
        transport,
        joinChecks,
        owned,
        metrics,
      });
      late.controlPlane = controlPlane;
      // What serves requests ends before the vault is sealed under them.
      owned.defer(() => controlPlane.#closeListeners());
      await controlPlane.#unsealUnattended();
      await controlPlane.#openSocket();
      return controlPlane;
    } catch (error) {
      await owned[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The vault in this process, for programs that use it directly. */
  get vault(): Vault {
    return this.#parts.vault;
  }

  get sealed(): boolean {
    return this.#parts.vault.status().sealed;
  }

  get endpoints(): Endpoints {
    const https = this.#https?.address;
    return {
      quic: this.#serving === undefined ? null : formatHostPort(this.#serving.address),
      http: https === undefined ? null : `https://${formatHostPort(https)}`,
      socket: this.#parts.folder.socket,
    };
  }

  get rootCertificateFile(): string {
    return this.#parts.folder.rootCertificate;
  }

  /** Where agents reach the cluster: this control plane first, then the others that share its store. */
  agentAddress(): string {
    const { config, vault } = this.#parts;
    const own = agentAddress(config, this.#assertServing().address);
    const others = vault.sharing.members.addresses();
    return [own, ...others.filter((address) => address !== own)].join(",");
  }

  sealStatus(): VaultStatus {
    return this.#parts.vault.status();
  }

  unattendedStart(): Promise<UnattendedStart> {
    const { config, folder, vault } = this.#parts;
    return unattendedStart(config.seal, folder, vault);
  }

  storeStatus(): StoreStatus {
    return this.#parts.stores.status;
  }

  /** As `VaultStores.migrate`. @throws {RksError} VAULT_SEALED, AUDIT_UNWRITABLE besides. */
  async migrateStore(to: StoreConfig, { actor }: { readonly actor: string }): Promise<StoreStatus> {
    const { stores } = this.#parts;
    const fields = { from: stores.status.store, to: storeName(to) };
    const serving = this.#assertServing();
    return serving.audited({ operation: "storage.migrate", actor, fields }, async () => {
      if (to.type === "etcd") await serving.storeClient.ensure();
      return stores.migrate(to, this.#movedVault());
    });
  }

  /** As `Serving.makeStoreFiles`. @throws {RksError} VAULT_SEALED besides. */
  async makeStoreFiles(whose: StoreFilesOwner): Promise<string> {
    return this.#assertServing().makeStoreFiles(whose);
  }

  /** As `VaultStores.backup`. @throws {RksError} VAULT_SEALED, AUDIT_UNWRITABLE besides. */
  backupStore(
    file: string,
    { actor, signal }: { readonly actor: string; readonly signal: AbortSignal },
  ): Promise<BackupHeader> {
    return this.#assertServing().audited({ operation: "storage.backup", actor, fields: { file } }, () =>
      this.#parts.stores.backup(file, this.#movedVault(), signal),
    );
  }

  /** As `VaultStores.verify`. @throws {RksError} VAULT_SEALED besides. */
  verifyStore(signal: AbortSignal): Promise<StoreReport> {
    return this.#parts.stores.verify(this.#movedVault(), signal);
  }

  cluster(): Cluster {
    return this.#assertServing().cluster;
  }

  /** How the cluster is; undefined while it is not served. */
  figures(): ClusterFigures | undefined {
    return this.#serving?.cluster.figures();
  }

  auditHead(): ChainHead {
    return this.#assertServing().auditHead();
  }

  tokenHolder(token: Secret<string>, connection: Connection): Promise<TokenHolder | undefined> {
    return this.#parts.vault.holderOf(token, connection);
  }

  get isServing(): boolean {
    return this.#serving !== undefined;
  }

  get isCutOff(): boolean {
    return this.isServing && this.#parts.vault.sharing.isCutOff;
  }

  answer(request: VaultRequest): Promise<VaultAnswer | undefined> {
    return this.#parts.vault.answer(request);
  }

  /** Resolves with the addresses as soon as agents are served; undefined when `signal` is aborted before. */
  async whenServing(signal: AbortSignal): Promise<Endpoints | undefined> {
    while (this.#serving === undefined) {
      if (signal.aborted) return undefined;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    return this.endpoints;
  }

  /**
   * Read the certificate of HTTPS and open the files of all audit logs anew, as after they were replaced or moved away. What
   * does not work is logged; what was used before stays, and is tried again later.
   */
  async reload(): Promise<void> {
    const { vault, logger } = this.#parts;
    const results = await Promise.allSettled([
      vault.reopenAudit(),
      this.#serving?.reopenAudit() ?? Promise.resolve(),
      this.#https?.reload() ?? Promise.resolve(),
    ]);
    for (const result of results) {
      if (result.status === "rejected")
        logger.error("Reloading failed", { error: RksError.from(result.reason) });
    }
    logger.info("Reloaded");
  }

  /** Wait until `signal` is aborted. @throws whatever broke serving in between. */
  async run(signal: AbortSignal): Promise<void> {
    using either = new LinkedAbort(signal, this.#failure.signal);
    await aborted(either.signal);
    if (this.#failure.signal.aborted) throw RksError.from(this.#failure.signal.reason);
  }

  /** Stop serving, seal, close the store and free the folder, within 10 s. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.owned[Symbol.asyncDispose]();
  }

  async #unsealUnattended(): Promise<void> {
    const { config, folder, vault, logger } = this.#parts;
    const material = await readUnsealMaterial(config.seal, folder);
    if (material === undefined) return;
    // Shares that are enough and wrong, as after a rekey, would only be in the way of right ones.
    const isEnough = material.shares.length >= vault.status().threshold;
    if (isEnough && !(await vault.isOpenedBy(material.shares))) {
      logger.warn("Unseal keys do not open this vault", { file: material.file });
      return;
    }
    try {
      for (const share of material.shares) if (vault.status().sealed) await vault.unseal(share);
    } catch (error) {
      if (!(error instanceof RksError) || error.code !== "UNSEAL_KEY_INVALID") throw error;
      logger.warn("Unseal keys do not open this vault", { file: material.file, error });
      return;
    }
    if (!vault.status().sealed) await this.#startServing();
  }

  /** Called by the vault, which seals itself again when it fails: an open one that cannot serve helps nobody. */
  async #startServing(): Promise<void> {
    if (this.#serving !== undefined) return;
    const { config, vault, stores, host, clock, logger, transport, joinChecks, metrics } = this.#parts;
    await stores.begin(this.#movedVault());
    const serving = await startServing({ ...config, quicAddress: this.#address }, vault, {
      clock,
      logger,
      transport,
      joinChecks,
      meter: metrics.meter,
      logOwner: { host, isShared: () => stores.isShared },
      onCertificate: (credentials) => this.#https?.offer(credentials),
      beforeServing: (parts) => this.#settleRestore(parts),
      onStoreCredentials: () => stores.useCredentials(),
      tryStore: (make) => stores.tryCredentials(make),
    });
    try {
      await stores.moveAsConfigured(this.#movedVault());
    } catch (reason) {
      await serving[Symbol.asyncDispose]();
      throw reason;
    }
    this.#serving = serving;
    this.#address = { ...this.#address, port: serving.address.port };
    serving.ended.catch((error: unknown) => this.#failure.abort(error));
    await this.#https?.open();
    logger.info("Serving", { quic: this.endpoints.quic, http: this.endpoints.http });
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async #stopServing(): Promise<void> {
    await this.#parts.stores.end();
    const serving = this.#serving;
    this.#serving = undefined;
    await serving?.[Symbol.asyncDispose]();
  }

  async #openSocket(): Promise<void> {
    const { folder, logger, metrics } = this.#parts;
    const routes = [...clusterRoutes(this), ...storageRoutes(this)];
    const init = { path: folder.socket, routes, api: this, drainMs: SOCKET_DRAIN_MS };
    this.#socket = await serveSocket(init, { logger, metrics });
  }

  /** All at once: each has its own time to end what is under way. */
  async #closeListeners(): Promise<void> {
    await Promise.all([
      this.#socket?.[Symbol.asyncDispose](),
      this.#https?.[Symbol.asyncDispose](),
      this.#stopServing(),
    ]);
  }

  async #settleRestore(parts: Pick<SettlePorts, "cluster" | "audit">): Promise<void> {
    const { stores, vault, clock, logger, config } = this.#parts;
    const { nodeTtlSeconds } = config.certificates;
    const ports = { ...parts, barrier: vault.barrier, clock, logger, nodeTtlSeconds };
    await settleRestore(stores, this.#movedVault(), ports);
  }

  /** The barrier is another one after each unseal. */
  #movedVault(): MovedVault {
    const { vault } = this.#parts;
    return {
      id: vaultIdOf(clusterCaOf(vault)),
      members: () => vault.sharing.members,
      guard: {
        movedTo: (counters, revision) => vault.storeGuard.movedTo(counters, revision),
        deriveKey: (purpose, term) => vault.storeGuard.deriveKey(purpose, term),
        isAuthentic: (entry) => vault.storeGuard.isAuthentic(entry),
      },
    };
  }

  #assertServing(): Serving {
    if (this.#serving !== undefined) return this.#serving;
    throw new RksError("VAULT_SEALED", "the vault is sealed", { suggestion: "Open it with `rks unseal`." });
  }
}
