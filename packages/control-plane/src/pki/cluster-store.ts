import { createPrivateKey } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import type { Storage, Write } from "../storage/storage.js";
import { CertificateAuthority } from "./certificate-authority.js";

/** A certificate as the cluster's CA keeps it. */
interface ClusterCertificateRecord {
  readonly der: Uint8Array;
  /** Role that it was issued by; empty for the root. */
  readonly role: string;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Keys of the cluster CA's mount in the barrier. Certificate and key of its root are written together. */
export const CLUSTER_KEYS = {
  issuerCertificate: "issuer/certificate",
  issuerKey: "issuer/key",
  certificates: "certs/",
} as const;

/** The mount's issuer, or undefined when it has none. @throws {RksError} STORAGE_CORRUPT when only half of it is there. */
export async function readClusterIssuer(
  barrier: Storage,
  prefix: string,
): Promise<CertificateAuthority | undefined> {
  const certificate = await barrier.get(prefix + CLUSTER_KEYS.issuerCertificate);
  const key = await barrier.get(prefix + CLUSTER_KEYS.issuerKey);
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    throw new RksError(
      "STORAGE_CORRUPT",
      `the issuer under "${prefix}" has a certificate without key or a key without certificate`,
      {
        suggestion: "Restore the data folder from a backup.",
      },
    );
  }
  try {
    const pkcs8 = Buffer.from(key.value.buffer, key.value.byteOffset, key.value.length);
    const privateKey = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
    return new CertificateAuthority(parseCertificate(certificate.value), privateKey);
  } finally {
    key.value.fill(0);
  }
}

/** Writes that keep an issuer. The key's bytes must stay until they are committed; wipe them then. */
export function clusterIssuerWrites(prefix: string, certificate: Uint8Array, pkcs8: Uint8Array): Write[] {
  return [
    { type: "put", key: prefix + CLUSTER_KEYS.issuerCertificate, value: certificate },
    { type: "put", key: prefix + CLUSTER_KEYS.issuerKey, value: pkcs8 },
  ];
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
