import { isIP } from "node:net";
import {
  type Clock,
  type Credentials,
  type Logger,
  RksError,
  settledWithin,
  type SocketAddress,
  type Transport,
} from "@rk8s/protocol";
import { audited } from "../audit/audited.js";
import type { AuditEvent, AuditLog } from "../audit/audit-log.js";
import { type AuditStamp, assertNotPutBack } from "../audit/audit-stamp.js";
import type { ChainHead } from "../audit/chain-link.js";
import { type FileAudit, openFileAudit } from "../audit/file-audit.js";
import { clusterHead, type LogOwner } from "../audit/stored-head.js";
import { isWildcard } from "../config/address.js";
import type { ControlPlaneConfig } from "../config/config.js";
import type { JoinCheck } from "../join/join-check.js";
import { type Cluster, type ClusterConfig, createCluster, type ServeOptions } from "../server/cluster.js";
import type { ClusterMeter } from "../server/cluster-meter.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import type { StoreOpeners } from "../store/choose-store.js";
import type { Vault } from "../vault/vault.js";
import { agentAddress } from "./agent-address.js";
import { clusterCaOf } from "./cluster-vault.js";
import { Disposables } from "./disposables.js";
import { futureCredentials } from "./future-credentials.js";
import { intermediateFilesIn } from "./offline-initialization.js";
import { publishRoots } from "./root-file.js";
import { makeHostFolder, makeMemberFolder } from "./store-certificates.js";
import { StoreClient } from "./store-client.js";
import { vaultFolderAt } from "./vault-folder.js";
import { vaultIdOf } from "./vault-id.js";

/** What connections get to end by themselves before they are cut. */
const DRAIN_MS = 5_000;

export interface ServingPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly transport: Transport;
  readonly joinChecks: readonly JoinCheck[];
  readonly meter: ClusterMeter;
  /** Whose the audit log is. */
  readonly logOwner: LogOwner;
  /** Called with each server certificate, the first one included; the key is wiped afterwards. */
  readonly onCertificate: (credentials: Credentials) => void;
  /** Called when everything is put together and nobody is served yet. */
  readonly beforeServing: (parts: { readonly cluster: Cluster; readonly audit: AuditLog }) => Promise<void>;
  /** Called when what rks shows to its store, or trusts there, has changed. It must not throw. */
  readonly onStoreCredentials: () => Promise<void>;
  /** As `StoreOpeners.tryCredentials`. */
  readonly tryStore: StoreOpeners["tryCredentials"];
}

/** A member of the store by its endpoint, or another host by a name for it. */
export type StoreFilesOwner = { readonly endpoint: string } | { readonly host: string };

/** What runs while the vault is open: audit log, cluster, QUIC. Disposing it ends them, within bounds. */
export interface Serving extends AsyncDisposable {
  readonly cluster: Cluster;
  /** Where agents connect. */
  readonly address: SocketAddress;
  /** Resolves when it was ended, rejects when it broke. */
  readonly ended: Promise<void>;
  /** The last record of the cluster's audit log. */
  auditHead(): ChainHead;
  /** The certificate with which rks is the client of its store. */
  readonly storeClient: StoreClient;
  /**
   * Make the files of a member of the store, or of another host that runs rks on it, in the vault folder. Gives their folder.
   * @throws {RksError} INPUT_INVALID, AUDIT_UNWRITABLE, STORAGE_FULL, STORAGE_UNWRITABLE.
   */
  makeStoreFiles(whose: StoreFilesOwner): Promise<string>;
  /** Do something that is written down in the cluster's audit log. @throws {RksError} AUDIT_UNWRITABLE, what it throws. */
  audited<T>(event: AuditEvent, work: () => Promise<T>): Promise<T>;
  /** Open the cluster's audit log anew, after it was moved away. @throws {RksError} AUDIT_UNWRITABLE */
  reopenAudit(): Promise<void>;
}

/**
 * Serve the cluster of an unsealed vault.
 * @throws {RksError} UNAVAILABLE when the address cannot be bound, AUDIT_UNWRITABLE, VAULT_SEALED.
 */
export async function startServing(
  config: ControlPlaneConfig,
  vault: Vault,
  ports: ServingPorts,
): Promise<Serving> {
  const { clock, logger, transport, joinChecks, meter, onCertificate } = ports;
  const owned = new Disposables({ logger });
  try {
    const clusterCa = clusterCaOf(vault);
    warnOfTrustDomain(config, clusterCa.trustDomain, logger);
    const audit = owned.use(await openAudit(config, { vault, clusterCa }, ports));
    await noteSealChange(audit, "vault.unseal", logger);
    owned.defer(() => noteSealChange(audit, "vault.seal", logger));
    const files = vaultFolderAt(config.vaultFolder);
    const { folder, rootCertificate, storeClient: storeClientFile } = files;
    const isNews = await publishRoots(rootCertificate, clusterCa.trust().bundle);
    if (isNews) await ports.onStoreCredentials();
    const certifying = { clusterCa, barrier: vault.barrier };
    const onRenewed = ports.onStoreCredentials;
    const storeClient = new StoreClient(storeClientFile, { ...certifying, audit, clock, logger, onRenewed });
    if (config.store.type === "etcd") await storeClient.ensure();
    const cluster = createCluster({
      config: { ...config.certificates, ...heartbeatOf(config), trustDomain: clusterCa.trustDomain },
      barrier: vault.barrier,
      sharing: vault.sharing,
      clusterCa,
      policies: vault.policies,
      audit,
      clock,
      logger,
      joinChecks,
      meter,
      onTrust: async (bundle) => {
        await publishRoots(rootCertificate, bundle);
        await storeClient.look();
        await ports.onStoreCredentials();
      },
      tryStore: () =>
        ports.tryStore(async () => {
          await storeClient.ensure();
          return futureCredentials(files, clusterCa.roots);
        }),
      intermediateFiles: intermediateFilesIn(files),
    });
    await ports.beforeServing({ cluster, audit });
    const stop = new AbortController();
    const end = (): void => stop.abort(new RksError("UNAVAILABLE", "rks is stopping"));
    const renewing = storeClient.keepFresh(stop.signal);
    owned.defer(async () => {
      end();
      await renewing;
    });
    const where = { ...config.quicAddress, ...namesOf(config), onCertificate };
    const { address, ended } = await cluster.serve(transport, where, stop.signal).catch(notBound);
    // Whoever looks later is told all the same; until then it may be that nobody does.
    ended.catch(() => undefined);
    owned.defer(async () => {
      end();
      await settledWithin(ended, { clock, timeoutMs: DRAIN_MS });
    });
    await vault.sharing.members.announce(agentAddress(config, address));
    return {
      cluster,
      address,
      ended,
      audited: (event, work) => audited(audit, event, async () => ({ value: await work() })),
      storeClient,
      makeStoreFiles: (whose) => {
        const event = { operation: "store-certificate.issue", actor: "rks", fields: { ...whose } };
        return audited(audit, event, async () => ({
          value:
            "host" in whose
              ? await makeHostFolder(folder, whose.host, certifying)
              : await makeMemberFolder(folder, whose.endpoint, certifying),
        }));
      },
      reopenAudit: () => audit.reopen(),
      auditHead: () => audit.head,
      [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
    };
  } catch (error) {
    await owned[Symbol.asyncDispose]();
    throw error;
  }
}

/** The audit log, which remembers the vault's state and with that notices an older store. */
async function openAudit(
  config: ControlPlaneConfig,
  { vault, clusterCa }: { readonly vault: Vault; readonly clusterCa: ClusterCa },
  { clock, logger, logOwner }: Pick<ServingPorts, "clock" | "logger" | "logOwner">,
): Promise<FileAudit> {
  const { audit } = vaultFolderAt(config.vaultFolder);
  const id = vaultIdOf(clusterCa);
  await assertNotPutBack(audit, { vault: id, sequence: vault.sequence });
  const stamp = (): AuditStamp => (vault.status().sealed ? {} : { vault: id, sequence: vault.sequence });
  return openFileAudit(audit, { clock, logger, stamp, heads: clusterHead(vault.barrier, logOwner) });
}

/** Nothing is issued by it: a full disk keeps nobody from opening or closing the vault. */
async function noteSealChange(audit: AuditLog, operation: string, logger: Logger): Promise<void> {
  await audit.result({ operation, actor: "rks" }, { outcome: "done" }).catch((error: unknown) => {
    logger.warn("Sealing or unsealing is not in the audit log", { operation, error });
  });
}

/** Whoever starts rks must not read that nothing answers: the address is taken, or not this host's. */
function notBound(reason: unknown): never {
  if (!(reason instanceof RksError) || reason.code !== "UNREACHABLE") throw reason;
  throw new RksError("UNAVAILABLE", reason.message, { cause: reason, suggestion: reason.suggestion });
}

function heartbeatOf({
  heartbeat,
}: ControlPlaneConfig): Pick<ClusterConfig, "heartbeatIntervalSeconds" | "heartbeatGraceSeconds"> {
  return {
    heartbeatIntervalSeconds: heartbeat.intervalSeconds,
    heartbeatGraceSeconds: heartbeat.graceSeconds,
  };
}

/** Names of the server certificate, which HTTPS uses as well; an address that stands for all is none. */
function namesOf(config: ControlPlaneConfig): Pick<ServeOptions, "dnsNames" | "ipAddresses"> {
  const { quicAddress, httpAddress, httpTls, advertise } = config;
  const https = httpAddress === undefined || httpTls !== undefined ? [] : [httpAddress.host];
  const named = [...new Set([quicAddress.host, ...https, ...advertise])].filter((host) => !isWildcard(host));
  return {
    dnsNames: named.filter((host) => isIP(host) === 0),
    ipAddresses: named.filter((host) => isIP(host) !== 0),
  };
}

/** The trust domain is in every identity that was ever issued; changing the config does not change it. */
function warnOfTrustDomain({ trustDomain }: ControlPlaneConfig, inUse: string, logger: Logger): void {
  if (trustDomain === inUse) return;
  logger.warn("Trust domain of the config differs from the cluster's and has no effect", {
    trustDomain,
    inUse,
  });
}
