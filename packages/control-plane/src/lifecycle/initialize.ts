import { rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { socketAnswers } from "@rk8s/host";
import { RksError, silentLogger } from "@rk8s/protocol";
import { encodePem, encodePemBytes } from "@rk8s/x509";
import type { ControlPlaneConfig } from "../config/config.js";
import { requestPem } from "../pki/cluster-intermediate-request.js";
import {
  type ClusterVaultInit,
  type InitializedClusterVault,
  initializeClusterVault,
} from "./cluster-vault.js";
import { Disposables } from "./disposables.js";
import { exists, fileError, makeFolder, syncFolder, writeDurably } from "./durable-file.js";
import { lockFolder } from "./folder-lock.js";
import {
  completeStaged,
  forgetRequest,
  isWaiting,
  publishRequest,
  stagedRequestOf,
  type WaitingForRoot,
} from "./offline-initialization.js";
import { stagedNames, type StagedVaultPorts, withVault, writeStoreFiles } from "./staged-vault.js";
import { MEMBER_FOLDER_PREFIX } from "./store-certificates.js";
import { formatKeys, readOrCreateKeyFile, unsealFileOf } from "./unseal-material.js";
import { FILE_NAMES, type VaultFolder, vaultFolderAt } from "./vault-folder.js";

export interface InitializationPorts extends StagedVaultPorts {
  /** Told after every step that changed something on disk; tests look at what a crash would leave. */
  readonly afterStep?: ((step: string) => Promise<void>) | undefined;
}

export interface InitializationResult {
  /** False: the vault was initialised before and nothing changed. */
  readonly initialized: boolean;
  readonly rootCertificateFile: string;
  /** What opens the vault: `keys.json` or the key file. */
  readonly unsealMaterial: string;
  /** Everything that was written for people and programs to use. */
  readonly files: readonly string[];
  /** Those of them that hold secrets in clear, on demand. */
  readonly dangerousFiles: readonly string[];
  /** The offline root has to sign something first; then initialise again. */
  readonly waiting?: WaitingForRoot | undefined;
}

/**
 * Initialise the vault of a config, once: seal, cluster CA with its roles and policies, root certificate, unseal
 * material. Safe to kill at any moment. Everything is built in a staging folder; renaming the store into place is
 * the one step that counts. What was not moved after it is moved by whoever comes next (`finishInitialization`);
 * a staging folder whose store was never moved is thrown away, unless it waits for the certificates of an offline root.
 * @throws {RksError} ALREADY_RUNNING while another process initialises the folder; ALREADY_EXISTS when the folder holds the
 * unseal keys of a vault that is not there; CERTIFICATE_INVALID, KEY_TOO_WEAK for the certificates of an offline root that
 * cannot be taken; CONFIG_INVALID, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function initialize(
  config: ControlPlaneConfig,
  ports: InitializationPorts,
): Promise<InitializationResult> {
  const folder = vaultFolderAt(config.vaultFolder);
  const unsealMaterial = unsealFileOf(config.seal, folder);
  const before: InitializationResult = {
    initialized: false,
    rootCertificateFile: folder.rootCertificate,
    unsealMaterial,
    files: [],
    dangerousFiles: [],
  };
  if ((await isInitialized(folder)) && !(await exists(folder.staging))) return before;
  // root.pem is for everybody; everything else in the folder is closed by itself.
  await makeFolder(folder.folder, { mode: 0o755 });
  await using owned = new Disposables({ logger: ports.logger ?? silentLogger });
  owned.use(await lockFolder(folder.lock, { answers: () => socketAnswers(folder.socket) }));
  if (await isInitialized(folder)) {
    await finishInitialization(folder);
    return before;
  }
  await assertNoForeignKeys(folder);
  const isOffline = config.certificates.rootKey === "offline";
  const names =
    isOffline && (await isWaiting(folder))
      ? await completeStaged(config, folder, ports)
      : await build(config, folder, ports);
  if (isOffline && names.length === 0) return { ...before, waiting: await publishRequest(folder) };
  await commit(folder, ports);
  await finishInitialization(folder, ports.afterStep);
  if (isOffline) await forgetRequest(folder);
  const files = names.map((name) => join(folder.folder, name));
  if (config.seal.type === "keyfile") files.push(config.seal.keyFile);
  return {
    ...before,
    initialized: true,
    files,
    dangerousFiles: [folder.rootToken, folder.rootKey].filter((file) => files.includes(file)),
  };
}

/** Whether the folder belongs to an initialised vault, whose store may be somewhere else. */
async function isInitialized(folder: VaultFolder): Promise<boolean> {
  return (await exists(folder.store)) || (await exists(folder.home)) || exists(folder.incomingStore);
}

/** @throws {RksError} VAULT_NOT_INITIALIZED unless `isInitialized`. */
export async function assertInitialized(folder: VaultFolder): Promise<void> {
  if (!(await isInitialized(folder))) throw notInitialized(folder);
}

/** That nobody has made a vault yet. */
export function notInitialized({ folder }: VaultFolder): RksError {
  return new RksError("VAULT_NOT_INITIALIZED", `there is no vault in "${folder}" yet`, {
    suggestion: "Run `rks gen certs --config FILE` first.",
  });
}

/**
 * Move what a killed initialisation left in the staging folder of an initialised vault. The caller holds the lock.
 * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function finishInitialization(
  folder: VaultFolder,
  afterStep?: (step: string) => Promise<void>,
): Promise<void> {
  if (!(await exists(folder.staging))) return;
  try {
    for (const name of await stagedNames(folder)) {
      const place = join(folder.folder, name);
      if (name.startsWith(MEMBER_FOLDER_PREFIX)) await rm(place, { recursive: true, force: true });
      await rename(join(folder.staging, name), place);
      await afterStep?.(`publish ${name}`);
    }
    await syncFolder(folder.folder);
    await rm(folder.staging, { recursive: true });
    await afterStep?.("remove staging");
  } catch (cause) {
    throw fileError(`finish the initialisation of "${folder.folder}"`, cause);
  }
}

/**
 * Everything the vault will need, in the staging folder; returns the names of the files beside the store. None: it waits
 * for an offline root.
 */
async function build(
  config: ControlPlaneConfig,
  folder: VaultFolder,
  ports: InitializationPorts,
): Promise<readonly string[]> {
  const step = ports.afterStep ?? (() => Promise.resolve());
  try {
    await rm(folder.staging, { recursive: true, force: true });
    await makeFolder(folder.staging, { mode: 0o700 });
    await step("make staging");
    const names: string[] = [];
    const made = await makeVault(config, folder, { ...ports, onFile: (name) => names.push(name) });
    await step("build store");
    const write = async (name: string, content: string | Uint8Array, mode: number): Promise<void> => {
      await writeDurably(join(folder.staging, name), content, { mode });
      names.push(name);
      await step(`write ${name}`);
    };
    if (made.root !== undefined) {
      await write(FILE_NAMES.rootCertificate, encodePem("CERTIFICATE", made.root), 0o644);
    }
    if (config.seal.type === "shamir") {
      const shares = made.shares.map((share) => share.reveal());
      await write(FILE_NAMES.keys, formatKeys(shares, config.seal.threshold), 0o600);
    }
    if (made.secrets !== undefined) {
      const { rootToken, rootKeyPkcs8 } = made.secrets;
      await write(FILE_NAMES.rootToken, `${rootToken.reveal()}\n`, 0o600);
      if (rootKeyPkcs8 !== undefined) {
        const pem = encodePemBytes("PRIVATE KEY", rootKeyPkcs8);
        rootKeyPkcs8.fill(0);
        await write(FILE_NAMES.rootKey, pem, 0o600);
        pem.fill(0);
      }
    }
    if (made.request === undefined) return names;
    // The last of all: what is there waits, what is not was not finished.
    await writeDurably(stagedRequestOf(folder), requestPem(made.request), { mode: 0o644 });
    await step("write request");
    return [];
  } catch (error) {
    await rm(folder.staging, { recursive: true, force: true }).catch(() => undefined);
    throw fileError(`initialise "${folder.folder}"`, error);
  }
}

async function makeVault(
  config: ControlPlaneConfig,
  { staging, store }: VaultFolder,
  ports: InitializationPorts & { readonly onFile: (name: string) => void },
): Promise<InitializedClusterVault> {
  const seal = await sealInitOf(config, ports);
  try {
    return await withVault(join(staging, basename(store)), ports, async (vault) => {
      const made = await initializeClusterVault(vault, {
        seal,
        trustDomain: config.trustDomain,
        rootTtlSeconds: config.certificates.rootTtlSeconds,
        rootKey: config.certificates.rootKey,
        handOutSecrets: config.keepDangerousFiles,
      });
      if (made.root === undefined) return made;
      for (const name of await writeStoreFiles(config.store, staging, vault)) ports.onFile(name);
      return made;
    });
  } finally {
    if ("unsealKey" in seal) seal.unsealKey.fill(0);
  }
}

async function sealInitOf(
  { seal }: ControlPlaneConfig,
  ports: InitializationPorts,
): Promise<ClusterVaultInit["seal"]> {
  if (seal.type === "shamir") return { shares: seal.shares, threshold: seal.threshold };
  const unsealKey = await readOrCreateKeyFile(seal.keyFile);
  await ports.afterStep?.("make key file");
  return { unsealKey };
}

/** The step that counts: before it there is no vault, after it there is one. */
async function commit(folder: VaultFolder, ports: InitializationPorts): Promise<void> {
  try {
    await syncFolder(folder.staging);
    await rename(join(folder.staging, basename(folder.store)), folder.store);
    await syncFolder(folder.folder);
  } catch (cause) {
    throw fileError(`initialise "${folder.folder}"`, cause);
  }
  await ports.afterStep?.("commit");
}

/** Unseal keys without their vault: it may only be moved away or not mounted, and its keys must not be overwritten. */
async function assertNoForeignKeys(folder: VaultFolder): Promise<void> {
  for (const file of [folder.keys, folder.rootToken, folder.rootKey]) {
    if (!(await exists(file))) continue;
    throw new RksError("ALREADY_EXISTS", `"${file}" belongs to a vault that is not in "${folder.folder}"`, {
      suggestion: "Bring that vault's store back, or move the file away if it is not needed any more.",
    });
  }
}
