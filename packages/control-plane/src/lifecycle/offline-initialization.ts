import { readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { RksError } from "@rk8s/protocol";
import { encodePem } from "@rk8s/x509";
import type { ControlPlaneConfig } from "../config/config.js";
import type { IntermediateFiles } from "../trust/intermediate-revival.js";
import { finishClusterVault } from "./cluster-vault.js";
import { errnoOf, exists, fileError, writeDurably } from "./durable-file.js";
import { stagedNames, type StagedVaultPorts, withVault, writeStoreFiles } from "./staged-vault.js";
import { readUnsealMaterial } from "./unseal-material.js";
import { FILE_NAMES, type VaultFolder } from "./vault-folder.js";

/** What an initialisation with an offline root waits for. */
export interface WaitingForRoot {
  /** PEM (RFC 2986): what the root has to sign. */
  readonly request: string;
  /** Where it is, for people to carry. */
  readonly requestFile: string;
  /** Where the intermediate belongs, together with its root. */
  readonly certificatesFile: string;
}

/** More is no intermediate with its root. */
const MAX_CERTIFICATES_BYTES = 65_536;

/** Where the request is in the staging folder: everything else in it is whole when this is there. */
export function stagedRequestOf({ staging, intermediateRequest }: VaultFolder): string {
  return join(staging, basename(intermediateRequest));
}

/** Whether a vault is built that waits for the certificates of its offline root. */
export async function isWaiting(folder: VaultFolder): Promise<boolean> {
  return exists(stagedRequestOf(folder));
}

/** Put the request where people find it. @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE. */
export async function publishRequest(folder: VaultFolder): Promise<WaitingForRoot> {
  const { intermediateRequest: requestFile, intermediate: certificatesFile } = folder;
  const request = await readFile(stagedRequestOf(folder), "utf8");
  await writeDurably(requestFile, request, { mode: 0o644 });
  return { request, requestFile, certificatesFile };
}

/**
 * Give the vault that waits what its root has signed, once that is there. Returns the names of the files beside the store;
 * none while nothing has come.
 * @throws {RksError} CERTIFICATE_INVALID, KEY_TOO_WEAK: it goes on waiting; CONFIG_INVALID when the config does not open
 * the vault any more; STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function completeStaged(
  config: ControlPlaneConfig,
  folder: VaultFolder,
  ports: StagedVaultPorts,
): Promise<readonly string[]> {
  const certificates = await readCertificates(folder);
  if (certificates === undefined) return [];
  const staged = { ...folder, keys: join(folder.staging, FILE_NAMES.keys) };
  const material = await readUnsealMaterial(config.seal, staged);
  const root = await withVault(join(folder.staging, basename(folder.store)), ports, async (vault) => {
    for (const share of material?.shares ?? []) if (vault.status().sealed) await vault.unseal(share);
    if (vault.status().sealed) throw foreignSeal(folder);
    const made = await finishClusterVault(vault, { trustDomain: config.trustDomain, certificates });
    await writeStoreFiles(config.store, folder.staging, vault);
    return made;
  });
  const file = join(folder.staging, FILE_NAMES.rootCertificate);
  await writeDurably(file, encodePem("CERTIFICATE", root), { mode: 0o644 });
  return stagedNames(folder);
}

/** What was carried to and fro is of no use any more. */
export async function forgetRequest({ intermediate, intermediateRequest }: VaultFolder): Promise<void> {
  for (const file of [intermediate, intermediateRequest]) await rm(file, { force: true });
}

/**
 * The certificates that people have put into the vault folder, PEM; undefined when there are none.
 * @throws {RksError} CERTIFICATE_INVALID when there is something else, STORAGE_UNWRITABLE when it cannot be read.
 */
async function readCertificates({ intermediate }: VaultFolder): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(intermediate, "utf8");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw fileError(`read "${intermediate}"`, cause);
  }
  if (text.length <= MAX_CERTIFICATES_BYTES) return text;
  throw new RksError("CERTIFICATE_INVALID", `"${intermediate}" has ${text.length} characters`, {
    suggestion: "Put the intermediate and its root there, in PEM, and nothing else.",
  });
}

/** The files by which a running rks and people meet over an intermediate. */
export function intermediateFilesIn(folder: VaultFolder): IntermediateFiles {
  return {
    read: () => readCertificates(folder),
    leaveRequest: (pem) => writeDurably(folder.intermediateRequest, pem, { mode: 0o644 }),
    forget: () => forgetRequest(folder),
  };
}

function foreignSeal({ staging }: VaultFolder): RksError {
  return new RksError("CONFIG_INVALID", `the config's seal does not open the vault in "${staging}"`, {
    suggestion: `Set seal back to what it was, or remove "${staging}" and begin anew.`,
  });
}
