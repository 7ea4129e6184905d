import { createPrivateKey } from "node:crypto";
import { hex, RksError } from "@rk8s/protocol";
import type { Storage, Write } from "@rk8s/storage";
import type { Certificate } from "@rk8s/x509";
import { CertificateAuthority } from "./certificate-authority.js";
import {
  type ClusterRoot,
  type ClusterRoots,
  decodeClusterRoots,
  encodeClusterRoots,
  foundingRoots,
  isOffline,
  issuerOf,
  issuersOf,
  spkiSha256Of,
} from "./cluster-roots.js";

/** A certificate as the cluster's CA keeps it. */
interface ClusterCertificateRecord {
  readonly der: Uint8Array;
  /** Role that it was issued by; empty for the root. */
  readonly role: string;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Keys of the cluster CA's mount in the barrier. Certificate and key of its first root are written together. */
export const CLUSTER_KEYS = {
  issuerCertificate: "issuer/certificate",
  issuerKey: "issuer/key",
  /** Missing before the first rotation of a root that was made here. */
  roots: "roots",
  /** The request for the next intermediate, while none has come of it. */
  request: "issuer/request",
  certificates: "certs/",
} as const;

/** The roots as they are kept, with their keys. */
export interface StoredRoots {
  readonly roots: ClusterRoots;
  /** Who signs now. */
  readonly issuer: CertificateAuthority;
  /** Who does not, while the key is kept: it still answers for the certificates that it signed. */
  readonly others: readonly CertificateAuthority[];
  /** Of the record of the roots; 0 while there is none. */
  readonly modRevision: number;
}

/** The mount's roots, or undefined when it has none. @throws {RksError} STORAGE_CORRUPT when only half of it is there. */
export async function readClusterRoots(barrier: Storage, prefix: string): Promise<StoredRoots | undefined> {
  const record = await barrier.get(prefix + CLUSTER_KEYS.roots);
  const founding = await barrier.get(prefix + CLUSTER_KEYS.issuerCertificate);
  const roots =
    record === undefined
      ? founding && foundingRoots(founding.value)
      : readRecord(decoder.decode(record.value), prefix);
  if (roots === undefined) {
    const key = await barrier.get(clusterKeyPath(prefix, 1));
    key?.value.fill(0);
    if (key !== undefined) throw halfThere(prefix);
    return undefined;
  }
  const [issuer, ...others] = await readAuthorities(barrier, prefix, roots.active);
  if (issuer?.certificate !== issuerOf(roots.active)) throw halfThere(prefix);
  if (roots.other !== undefined) others.push(...(await readAuthorities(barrier, prefix, roots.other)));
  return { roots, issuer, others, modRevision: record?.modRevision ?? 0 };
}

/** Everybody who signs or has signed for a root and whose key is kept, the one that signs now first. */
async function readAuthorities(
  barrier: Storage,
  prefix: string,
  root: ClusterRoot,
): Promise<CertificateAuthority[]> {
  const authorities: CertificateAuthority[] = [];
  for (const { certificate } of issuersOf(root)) {
    const path = issuerKeyPath(prefix, root, certificate);
    const authority = await readAuthority(barrier, path, certificate);
    if (authority !== undefined) authorities.push(authority);
  }
  return authorities;
}

/** Undefined when the issuer's key is not kept. */
async function readAuthority(
  barrier: Storage,
  keyPath: string,
  certificate: Certificate,
): Promise<CertificateAuthority | undefined> {
  const key = await barrier.get(keyPath);
  if (key === undefined) return undefined;
  try {
    const pkcs8 = Buffer.from(key.value.buffer, key.value.byteOffset, key.value.length);
    return new CertificateAuthority(
      certificate,
      createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" }),
    );
  } finally {
    key.value.fill(0);
  }
}

function readRecord(json: string, prefix: string): ClusterRoots {
  try {
    return decodeClusterRoots(json);
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the record of the roots under "${prefix}" cannot be read`, {
      cause,
      suggestion: "Restore the data folder from a backup.",
    });
  }
}

function halfThere(prefix: string): RksError {
  return new RksError(
    "STORAGE_CORRUPT",
    `the issuer under "${prefix}" has a certificate without key or a key without certificate`,
    { suggestion: "Restore the data folder from a backup." },
  );
}

/** Where a root's key is. */
export function clusterKeyPath(prefix: string, number: number): string {
  return `${prefix}${CLUSTER_KEYS.issuerKey}${number === 1 ? "" : `/${number}`}`;
}

/** Where the key of an intermediate is, from its request on. */
export function intermediateKeyPath(prefix: string, key: Pick<Certificate, "spki">): string {
  return `${prefix}issuer/intermediate-key/${hex(spkiSha256Of(key))}`;
}

/** Where the key is of somebody who signs for a root: the root itself, or an intermediate. */
export function issuerKeyPath(prefix: string, root: ClusterRoot, issuer: Certificate): string {
  return isOffline(root) ? intermediateKeyPath(prefix, issuer) : clusterKeyPath(prefix, root.number);
}

/** Writes that keep the first root. The key's bytes must stay until they are committed; wipe them then. */
export function clusterIssuerWrites(prefix: string, certificate: Uint8Array, pkcs8: Uint8Array): Write[] {
  return [
    { type: "put", key: prefix + CLUSTER_KEYS.issuerCertificate, value: certificate },
    { type: "put", key: clusterKeyPath(prefix, 1), value: pkcs8 },
  ];
}

/** The write that keeps the record of the roots. */
export function clusterRootsWrite(prefix: string, roots: ClusterRoots): Write {
  return { type: "put", key: prefix + CLUSTER_KEYS.roots, value: encoder.encode(encodeClusterRoots(roots)) };
}

/** The write that keeps a certificate under its serial number. */
export function clusterCertificateWrite(
  prefix: string,
  serialNumber: string,
  record: ClusterCertificateRecord,
): Write {
  const json = { certificate: Buffer.from(record.der).toString("base64"), role: record.role };
  return {
    type: "put",
    key: `${prefix}${CLUSTER_KEYS.certificates}${serialNumber}`,
    value: encoder.encode(JSON.stringify(json)),
  };
}

export async function readClusterCertificate(
  barrier: Storage,
  prefix: string,
  serialNumber: string,
): Promise<ClusterCertificateRecord | undefined> {
  const entry = await barrier.get(`${prefix}${CLUSTER_KEYS.certificates}${serialNumber}`);
  if (entry === undefined) return undefined;
  const json = JSON.parse(decoder.decode(entry.value)) as { certificate: string; role: string };
  return { der: Uint8Array.from(Buffer.from(json.certificate, "base64")), role: json.role };
}
