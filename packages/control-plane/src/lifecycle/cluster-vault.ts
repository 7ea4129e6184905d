import { type Clock, type Logger, RksError, type Secret } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { joinTokenLogin } from "../auth/join-token/join-token-backend.js";
import type { StoreConfig } from "../config/config.js";
import { loginMethods, secretsEngines } from "../mount-types.js";
import { CLUSTER_CA_MOUNT, ClusterCa } from "../pki/cluster-ca.js";
import { CLUSTER_KEYS } from "../pki/cluster-store.js";
import type { LineWriter } from "../vault/audit/audit-device.js";
import { type ClusterName, openVault, type Vault, type VaultInit } from "../vault/vault.js";
import { VERSION } from "../version.js";
import { CLUSTER_POLICIES } from "./cluster-policies.js";
import { joinTokenKeys } from "./join-token-keys.js";

/** Mount type of the cluster's CA; nobody can mount it anywhere else. */
const CLUSTER_CA_TYPE = "rk8s-pki";
/** What clients read of where the vault is. */
const STORAGE_TYPES: Readonly<Record<StoreConfig["type"], string>> = {
  local: "lmdb",
  etcd: "etcd",
  sql: "sql",
};
const ROOT_COMMON_NAME = "rk8s cluster root";
/**
 * What clients take the vault for: Terraform's provider and others choose by it what they ask for. 1.14 is where
 * OpenBao left Vault, and has what this one has; see docs/adr/0012.
 */
const VAULT_VERSION = `1.14.10+rks.${VERSION}`;

export interface ClusterVaultPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where audit devices of type `stdout` write; none: they cannot be enabled. */
  readonly stdout?: LineWriter | undefined;
}

export interface ClusterVaultInit {
  /** How many shares, or the 32 bytes of a key-file seal. */
  readonly seal: { readonly shares: number; readonly threshold: number } | { readonly unsealKey: Uint8Array };
  readonly trustDomain: string;
  readonly rootTtlSeconds: number;
  /** Where the root's key is: in the vault, or elsewhere; then the vault asks for an intermediate. Default: vault. */
  readonly rootKey?: "vault" | "offline" | undefined;
  /** Whether root token and root key are handed out; else the token is revoked and the key stays inside. */
  readonly handOutSecrets: boolean;
}

/** The only time that these are seen. */
export interface InitializedClusterVault extends MadeAuthority {
  /** Base64; empty with a key file. */
  readonly shares: readonly Secret<string>[];
  /** Only when asked for; the key only when it is here. */
  readonly secrets:
    { readonly rootToken: Secret<string>; readonly rootKeyPkcs8: Uint8Array | undefined } | undefined;
}

/** A cluster's authority as it begins. */
interface MadeAuthority {
  /** DER, when its key is here. */
  readonly root: Uint8Array | undefined;
  /** DER, when it is not: the request for an intermediate; see `finishClusterVault`. */
  readonly request: Uint8Array | undefined;
}

/** What a running control plane adds to its vault. */
export type ClusterVaultHooks = Pick<
  VaultInit,
  "afterUnseal" | "beforeSeal" | "onRekey" | "sysPaths" | "host"
>;

/** Where a vault is kept. */
interface ClusterStore {
  readonly storage: Storage;
  /** Asked anew whenever it matters: a store can be moved. */
  readonly type: StoreConfig["type"];
  /** As `VaultInit.shared`. Default: no. */
  readonly isShared?: boolean;
  /** As `VaultInit`. */
  readonly whyLeft?: VaultInit["whyLeft"];
}

/** Open the vault of a control plane: PKI engines for users, the cluster's CA on its reserved mount. */
export async function openClusterVault(
  store: ClusterStore,
  ports: ClusterVaultPorts,
  hooks: ClusterVaultHooks = {},
): Promise<Vault> {
  return openVault(
    {
      storage: store.storage,
      shared: () => store.isShared === true,
      whyLeft: () => store.whyLeft?.() ?? Promise.resolve(undefined),
      backends: {
        ...secretsEngines(ports),
        [CLUSTER_CA_TYPE]: async (mount, barrier) => {
          assertAtItsPlace(mount.path);
          return ClusterCa.open(mount, barrier, { clock: ports.clock });
        },
      },
      loginMethods: {
        ...loginMethods(ports),
        "join-token": joinTokenLogin({
          clock: ports.clock,
          keys: (barrier) => joinTokenKeys(barrier, ports),
        }),
      },
      reservedMounts: [CLUSTER_CA_MOUNT],
      version: VAULT_VERSION,
      storageType: () => STORAGE_TYPES[store.type],
      cluster: clusterNameOf,
      ...hooks,
    },
    ports,
  );
}

/** By trust domain and first root; empty while the cluster is being made, which nobody sees. */
function clusterNameOf(vault: Vault): ClusterName {
  try {
    const { trustDomain, founder } = clusterCaOf(vault);
    return { name: trustDomain, id: uuidOf(founder) };
  } catch {
    return { name: "", id: "" };
  }
}

/** A UUID of version 8 (RFC 9562 §5.8) from the first bytes of a hash. */
function uuidOf(hash: Uint8Array): string {
  const bytes = Buffer.from(hash.subarray(0, 16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function assertAtItsPlace(path: string): void {
  if (path === CLUSTER_CA_MOUNT) return;
  throw new RksError(
    "PERMISSION_DENIED",
    `an engine of type "${CLUSTER_CA_TYPE}" cannot be mounted at "${path}"`,
    {
      suggestion: "Mount an engine of type pki.",
    },
  );
}

/** The cluster's CA of an unsealed vault. @throws {RksError} VAULT_SEALED. */
export function clusterCaOf(vault: Vault): ClusterCa {
  const backend = vault.backend(CLUSTER_CA_MOUNT);
  if (backend instanceof ClusterCa) return backend;
  throw new RksError("INTERNAL", `what is mounted at "${CLUSTER_CA_MOUNT}" is not the cluster's CA`);
}

/**
 * Initialise a vault and the cluster's CA in it: keys, root certificate, policies. Several transactions: whoever
 * calls this throws the store away when it does not come to its end. The vault is unsealed afterwards.
 * @throws {RksError} ALREADY_EXISTS, and as the storage does.
 */
export async function initializeClusterVault(
  vault: Vault,
  init: ClusterVaultInit,
): Promise<InitializedClusterVault> {
  const { shares, rootToken } = await vault.init(init.seal);
  if ("unsealKey" in init.seal) await vault.unseal(init.seal.unsealKey);
  else for (const share of shares.slice(0, init.seal.threshold)) await vault.unseal(share);
  await vault.mountReserved(CLUSTER_CA_MOUNT, CLUSTER_CA_TYPE);
  const { rootKeyPkcs8, ...made } =
    init.rootKey === "offline" ? await askForIntermediate(vault) : await makeRoot(vault, init);
  for (const [name, policy] of Object.entries(CLUSTER_POLICIES)) {
    await vault.write(rootToken, `sys/policies/acl/${name}`, { policy });
  }
  if (init.handOutSecrets) return { ...made, shares, secrets: { rootToken, rootKeyPkcs8 } };
  rootKeyPkcs8?.fill(0);
  await vault.write(rootToken, "auth/token/revoke-self", {});
  return { ...made, shares, secrets: undefined };
}

/**
 * Give an initialised, unsealed vault the intermediate that it has asked for: PEM, with the offline root that signed it.
 * Returns that root, DER. Once it is done, doing it again changes nothing.
 * @throws {RksError} CERTIFICATE_INVALID, KEY_TOO_WEAK, INPUT_INVALID for a trust domain that is none.
 */
export async function finishClusterVault(
  vault: Vault,
  init: { readonly trustDomain: string; readonly certificates: string },
): Promise<Uint8Array> {
  const ca = clusterCaOf(vault);
  if (ca.initialized) return ca.root;
  const { root, writes } = await ca.initializeOffline(init);
  await vault.barrier.transaction([], writes);
  await ca.reload();
  return root;
}

interface MadeHere extends MadeAuthority {
  readonly rootKeyPkcs8: Uint8Array | undefined;
}

async function askForIntermediate(vault: Vault): Promise<MadeHere> {
  const { csr: request, writes, wipe } = await clusterCaOf(vault).prepareRequest({ isFresh: true });
  try {
    await vault.barrier.transaction([], writes);
    return { root: undefined, request, rootKeyPkcs8: undefined };
  } finally {
    wipe();
  }
}

async function makeRoot(vault: Vault, init: ClusterVaultInit): Promise<MadeHere> {
  const ca = clusterCaOf(vault);
  const { trustDomain, rootTtlSeconds } = init;
  const prepared = ca.initialize({ trustDomain, rootTtlSeconds, commonName: ROOT_COMMON_NAME });
  try {
    await vault.barrier.transaction([], prepared.writes);
    await ca.reload();
    const key = prepared.writes.find((write) => write.key.endsWith(CLUSTER_KEYS.issuerKey));
    const rootKeyPkcs8 = key?.type === "put" ? key.value.slice() : undefined;
    return { root: prepared.root, request: undefined, rootKeyPkcs8 };
  } finally {
    prepared.wipe();
  }
}
