import { RksError } from "@rk8s/protocol";
import { MAX_LIST_LIMIT, type Storage, type Write } from "../storage/storage.js";
import { CertificateAuthority } from "./certificate-authority.js";

/** A certificate as it is kept. */
export interface CertificateRecord {
  readonly der: Uint8Array;
  /** Role that it was issued by; empty for a root. */
  readonly role: string;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Keys of a PKI mount in the barrier. The issuer's certificate and key are written and deleted together. */
export const PKI_KEYS = {
  issuerCertificate: "issuer/certificate",
  issuerKey: "issuer/key",
  roles: "roles/",
  certificates: "certs/",
} as const;

/** The mount's issuer, or undefined when it has none. @throws {RksError} STORAGE_CORRUPT when only half of it is there. */
export async function readIssuer(
  barrier: Storage,
  prefix: string,
): Promise<CertificateAuthority | undefined> {
  const certificate = await barrier.get(prefix + PKI_KEYS.issuerCertificate);
  const key = await barrier.get(prefix + PKI_KEYS.issuerKey);
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
    return CertificateAuthority.fromPkcs8(certificate.value, key.value);
  } finally {
    key.value.fill(0);
  }
}

/** Writes that keep an issuer. The key's bytes must stay until they are committed; wipe them then. */
export function issuerWrites(prefix: string, certificate: Uint8Array, pkcs8: Uint8Array): Write[] {
  return [
    { type: "put", key: prefix + PKI_KEYS.issuerCertificate, value: certificate },
    { type: "put", key: prefix + PKI_KEYS.issuerKey, value: pkcs8 },
  ];
}

/** The write that keeps a certificate under its serial number. */
export function certificateWrite(prefix: string, serialNumber: string, record: CertificateRecord): Write {
  const json = { certificate: Buffer.from(record.der).toString("base64"), role: record.role };
  return {
    type: "put",
    key: `${prefix}${PKI_KEYS.certificates}${serialNumber}`,
    value: encoder.encode(JSON.stringify(json)),
  };
}

export async function readCertificateRecord(
  barrier: Storage,
  prefix: string,
  serialNumber: string,
): Promise<CertificateRecord | undefined> {
  const entry = await barrier.get(`${prefix}${PKI_KEYS.certificates}${serialNumber}`);
  if (entry === undefined) return undefined;
  const json = JSON.parse(decoder.decode(entry.value)) as { certificate: string; role: string };
  return { der: Uint8Array.from(Buffer.from(json.certificate, "base64")), role: json.role };
}

/** Names of all entries under a folder of the mount, in order. */
export async function listNames(barrier: Storage, folder: string): Promise<string[]> {
  const names: string[] = [];
  let after: string | undefined;
  for (;;) {
    const page = await barrier.list(folder, {
      limit: MAX_LIST_LIMIT,
      ...(after === undefined ? {} : { after }),
    });
    names.push(...page.entries.map(({ key }) => key.slice(folder.length)));
    after = page.entries.at(-1)?.key;
    if (!page.more || after === undefined) return names;
  }
}
