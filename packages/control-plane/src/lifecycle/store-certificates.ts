import { rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Storage } from "@rk8s/storage";
import { encodePemBytes } from "@rk8s/x509";
import { hostPortOfEndpoint } from "../config/store-endpoint.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import type { StorePart } from "../pki/cluster-certificate.js";
import { exists, fileError, makeFolder, syncFolder, writeDurably } from "./durable-file.js";
import { FILE_NAMES } from "./vault-folder.js";

/** As long as the role allows: members' files are copied by people. */
const STORE_TTL_SECONDS = 90 * 86_400;
const MEMBER_PARTS: readonly StorePart[] = ["server", "peer", "client"];

export interface StoreCertificatePorts {
  readonly clusterCa: Pick<ClusterCa, "prepareStoreCertificate" | "trust">;
  readonly barrier: Pick<Storage, "transaction">;
}

/** Names of the folders that are made here begin with it. */
export const MEMBER_FOLDER_PREFIX = "xline-";

/** A certificate for the store, which the vault knows of. */
interface Issued {
  /** PEM. The caller wipes it. */
  readonly key: Uint8Array;
  /** PEM, leaf first. */
  readonly chain: Uint8Array;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Name of the folder with the certificates of a member: `xline-<host>-<port>`. */
function memberFolderName(endpoint: string): string {
  const { host, port } = hostPortOfEndpoint(endpoint);
  return `${MEMBER_FOLDER_PREFIX}${host.replaceAll(":", "-")}-${port}`;
}

/**
 * Make a folder with everything that a member of the store starts with: certificates and keys for its clients, for its
 * peers and for its own tools, and the CA. Replaces an older one as a whole. The keys are files (0600), because the store
 * needs files.
 * @throws {RksError} INPUT_INVALID for a host that cannot be certified, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function makeMemberFolder(
  parent: string,
  endpoint: string,
  ports: StoreCertificatePorts,
): Promise<string> {
  const { host } = hostPortOfEndpoint(endpoint);
  return inNewFolder(join(parent, memberFolderName(endpoint)), async (folder) => {
    for (const part of MEMBER_PARTS) {
      const issued = await issue(part, host, ports);
      try {
        await writeDurably(join(folder, `${part}.key`), issued.key, { mode: 0o600 });
        await writeDurably(join(folder, `${part}.pem`), issued.chain, { mode: 0o644 });
      } finally {
        issued.key.fill(0);
      }
    }
    await writeDurably(join(folder, "ca.pem"), pemOf(ports.clusterCa.trust().bundle), { mode: 0o644 });
  });
}

/**
 * Make a folder with what another host needs to run rks on the same store, to be copied into its vault folder.
 * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function makeHostFolder(
  parent: string,
  name: string,
  ports: StoreCertificatePorts,
): Promise<string> {
  return inNewFolder(join(parent, `rks-host-${name}`), async (folder) => {
    await writeClient(join(folder, FILE_NAMES.storeClient), ports);
    const roots = pemOf(ports.clusterCa.trust().bundle);
    await writeDurably(join(folder, FILE_NAMES.rootCertificate), roots, { mode: 0o644 });
  });
}

/**
 * Make rks' own key and certificate for the store, in one file (0600). Gives when it begins and ends, milliseconds.
 * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function writeClient(
  file: string,
  ports: StoreCertificatePorts,
): Promise<{ readonly notBefore: number; readonly notAfter: number }> {
  const issued = await issue("client", undefined, ports);
  // As `readStoreCredentials` reads it: a new key never meets an old certificate.
  const pem = Buffer.concat([issued.key, issued.chain]);
  try {
    await writeDurably(file, pem, { mode: 0o600 });
  } finally {
    pem.fill(0);
    issued.key.fill(0);
  }
  return issued;
}

/** Committed before it is handed out: no certificate that the vault does not know. */
async function issue(
  part: StorePart,
  host: string | undefined,
  { clusterCa, barrier }: StoreCertificatePorts,
): Promise<Issued> {
  const prepared = clusterCa.prepareStoreCertificate({ part, host, ttlSeconds: STORE_TTL_SECONDS });
  const { certificate, privateKey, notBefore, notAfter } = prepared;
  try {
    await barrier.transaction([], prepared.writes);
    const chain = pemOf([certificate, ...prepared.chain]);
    return { key: encodePemBytes("PRIVATE KEY", privateKey), chain, notBefore, notAfter };
  } finally {
    privateKey.fill(0);
  }
}

/** Certificates as PEM. */
export function pemOf(certificates: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(certificates.map((der) => encodePemBytes("CERTIFICATE", der)));
}

/** Fill a folder beside its place and put it there, instead of an older one. */
async function inNewFolder(place: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const staging = `${place}.new`;
  const old = `${place}.old`;
  try {
    await rm(staging, { recursive: true, force: true });
    await rm(old, { recursive: true, force: true });
    await makeFolder(staging, { mode: 0o700 });
    await fill(staging);
    await syncFolder(staging);
    if (await exists(place)) await rename(place, old);
    await rename(staging, place);
    await syncFolder(dirname(place));
    await rm(old, { recursive: true, force: true });
    return place;
  } catch (cause) {
    throw fileError(`make "${place}"`, cause);
  }
}
