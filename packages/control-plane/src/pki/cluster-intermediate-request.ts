import { hex, RksError } from "@rk8s/protocol";
import type { Comparison, Storage, Write } from "@rk8s/storage";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  encodeBasicConstraints,
  encodeKeyUsage,
  encodeName,
  encodePem,
  encodeSignatureAlgorithm,
  encodeSubjectKeyIdentifier,
  OID,
  parseCertificateRequest,
} from "@rk8s/x509";
import { type CertificateAuthority, keyIdentifier } from "./certificate-authority.js";
import { spkiSha256Of } from "./cluster-roots.js";
import { CLUSTER_KEYS, intermediateKeyPath } from "./cluster-store.js";
import { createFastKeyPair, exportPkcs8 } from "./key-pair.js";
import { signatureAlgorithmOf, signBytes, type SigningAlgorithm } from "./signing.js";

/** Nothing is below an intermediate but leaves. */
export const INTERMEDIATE_PATH_LENGTH = 0;
/** Digits of the key's hash in the name: enough that no two intermediates of a cluster have the same. */
const NAME_DIGITS = 12;

/** The request for an intermediate that waits for its certificate. */
export interface PendingRequest {
  /** DER (RFC 2986). */
  readonly csr: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly modRevision: number;
}

/** A request that may not be committed yet. */
export interface PreparedRequest {
  /** DER (RFC 2986). */
  readonly csr: Uint8Array;
  readonly comparisons: readonly Comparison[];
  /** Empty when it was there already. */
  readonly writes: readonly Write[];
  /** Overwrite the key among the writes; to be called once they are committed or given up. */
  readonly wipe: () => void;
}

/** The request that waits for its certificate. @throws {RksError} STORAGE_CORRUPT. */
export async function readPendingRequest(
  barrier: Storage,
  prefix: string,
): Promise<PendingRequest | undefined> {
  const entry = await barrier.get(prefix + CLUSTER_KEYS.request);
  if (entry === undefined) return undefined;
  try {
    const { spki } = parseCertificateRequest(entry.value);
    return { csr: entry.value, spki, modRevision: entry.modRevision };
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the request under "${prefix}" cannot be read`, {
      cause,
      suggestion: "Make another one: `rks ca csr --fresh`.",
    });
  }
}

/** The pending request again, or one for a new key (EC P-256), which then stays in the barrier. */
export function prepareIntermediateRequest(
  pending: PendingRequest | undefined,
  options: { readonly prefix: string; readonly isFresh: boolean },
): PreparedRequest {
  const { prefix, isFresh } = options;
  const comparisons = [pendingUnchanged(prefix, pending)];
  if (pending !== undefined && !isFresh) {
    return { csr: pending.csr, comparisons, writes: [], wipe: () => undefined };
  }
  const { privateKey, spki } = createFastKeyPair({ type: "ec", bits: 256 });
  const algorithm = signatureAlgorithmOf(privateKey);
  const subject = encodeName([{ type: OID.commonName, value: nameFor(spki) }]);
  const csr = encodeRequest(algorithm, { subject, spki }, (bytes) => signBytes(algorithm, bytes, privateKey));
  const pkcs8 = exportPkcs8(privateKey);
  const writes: Write[] = [
    { type: "put", key: prefix + CLUSTER_KEYS.request, value: csr },
    { type: "put", key: intermediateKeyPath(prefix, { spki }), value: pkcs8 },
  ];
  if (pending !== undefined) writes.push({ type: "delete", key: intermediateKeyPath(prefix, pending) });
  return { csr, comparisons, writes, wipe: () => void pkcs8.fill(0) };
}

/** That no other request took the place of this one meanwhile. */
export function pendingUnchanged(prefix: string, pending: PendingRequest | undefined): Comparison {
  return { key: prefix + CLUSTER_KEYS.request, modRevision: pending?.modRevision ?? 0 };
}

/** A request for another certificate of an intermediate's own name and key, for when its time is over. DER. */
export function requestAgain(intermediate: CertificateAuthority): Uint8Array {
  const { subject, spki } = intermediate.certificate;
  // It was made here: EC P-256.
  return encodeRequest("ecdsa-sha256", { subject: subject.der, spki }, (bytes) =>
    intermediate.signBytes(bytes),
  );
}

/** A request as people carry it to the root. */
export function requestPem(csr: Uint8Array): string {
  return encodePem("CERTIFICATE REQUEST", csr);
}

function nameFor(spki: Uint8Array): string {
  return `rk8s cluster intermediate ${hex(spkiSha256Of({ spki })).slice(0, NAME_DIGITS)}`;
}

function encodeRequest(
  algorithm: SigningAlgorithm,
  { subject, spki }: { readonly subject: Uint8Array; readonly spki: Uint8Array },
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const info = buildCertificateRequestInfo({
    subject,
    spki,
    extensions: [
      encodeBasicConstraints({ isCa: true, pathLength: INTERMEDIATE_PATH_LENGTH }),
      encodeKeyUsage(["keyCertSign", "cRLSign"]),
      encodeSubjectKeyIdentifier(keyIdentifier(spki)),
    ],
  });
  return assembleCertificateRequest(info, encodeSignatureAlgorithm(algorithm), sign(info));
}
