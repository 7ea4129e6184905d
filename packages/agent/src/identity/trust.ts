import { createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { equalBytes, hex, RksError } from "@rk8s/protocol";
import { clockSkew } from "./clock-skew.js";
import { decodePemCertificates, parseCertificate, type Certificate } from "@rk8s/x509";

/** Where trust in the control plane comes from, besides the pin in the join token. */
export interface TrustOptions {
  /**
   * The only certificates to trust: PEM (text or bytes), or DER. One of them must be the one that the join token
   * pins. Without any the pinned root is fetched from the control plane itself.
   */
  readonly rootCertificates?: string | Uint8Array | readonly Uint8Array[] | undefined;
  /** The same, as the path of a PEM file. */
  readonly rootCertPath?: string | undefined;
}

const DER_SEQUENCE = 0x30;
const SUGGESTION = "Copy root.pem again from the control plane that made the join token.";

/**
 * The root certificates of the options in DER, undefined when there are none.
 * @throws {RksError} CONFIG_INVALID when the file cannot be read or holds no usable CA certificate.
 */
export async function loadRootCertificates(
  options: TrustOptions,
): Promise<readonly Uint8Array[] | undefined> {
  const { rootCertificates, rootCertPath } = options;
  if (rootCertificates !== undefined) return readRoots(rootCertificates, "rootCertificates");
  if (rootCertPath === undefined) return undefined;
  let pem: Uint8Array;
  try {
    pem = await readFile(rootCertPath);
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", `root certificate file "${rootCertPath}" cannot be read`, {
      cause,
      suggestion: "Check the path, or leave it out: the join token pins the root.",
    });
  }
  return readRoots(pem, `"${rootCertPath}"`);
}

/**
 * Check that one of the roots is the one that the join token pins (SHA-256 of its SubjectPublicKeyInfo).
 * @throws {RksError} CA_PIN_MISMATCH.
 */
export function assertPinnedRoot(roots: readonly Uint8Array[], pin: Uint8Array): void {
  if (roots.some((der) => hasPin(parseCertificate(der), pin))) return;
  const found = roots.map((der) => hex(spkiSha256(parseCertificate(der)))).join(", ");
  throw new RksError(
    "CA_PIN_MISMATCH",
    `the root certificate's key has SHA-256 ${found}, the join token pins ${hex(pin)}`,
    { suggestion: SUGGESTION },
  );
}

/**
 * The one certificate of an unverified chain that the pin vouches for: self-signed, its signature checked, a CA
 * that may sign certificates, and valid now.
 * @throws {RksError} CA_PIN_MISMATCH when the chain has no certificate with the pinned key, SERVER_UNTRUSTED when
 * that certificate is not a usable root, CLOCK_SKEW when its dates do not hold here.
 */
export function findPinnedRoot(
  chain: readonly Uint8Array[],
  options: { readonly pin: Uint8Array; readonly nowMs: number },
): Uint8Array {
  const pinned = chain.filter((der) => hasPin(parseUntrusted(der), options.pin));
  // During a rotation the same key is there under another root's signature too.
  const first = pinned.find(isSelfIssued) ?? pinned[0];
  if (first === undefined) {
    throw new RksError(
      "CA_PIN_MISMATCH",
      `no certificate of the server has the key that the join token pins (${hex(options.pin)})`,
      { suggestion: "Check that the address and the join token belong to the same cluster." },
    );
  }
  const problem = rootProblem(first);
  if (problem !== undefined) {
    throw new RksError("SERVER_UNTRUSTED", `the pinned root certificate ${problem}`, {
      suggestion: "Run `rks doctor` on the control plane.",
    });
  }
  const skew = clockSkew([parseCertificate(first)], { nowMs: options.nowMs, whose: "join token's cluster" });
  if (skew !== undefined) throw skew;
  return first;
}

/** The pin of a root certificate (DER): SHA-256 of its SubjectPublicKeyInfo, hexadecimal digits. */
export function rootPin(der: Uint8Array): string {
  return hex(spkiSha256(parseCertificate(der)));
}

/** SHA-256 of a certificate's SubjectPublicKeyInfo: what a join token pins. */
function spkiSha256(certificate: Certificate): Uint8Array {
  return createHash("sha256").update(certificate.spki).digest();
}

/** Why a certificate is no usable root, or undefined. */
function rootProblem(der: Uint8Array): string | undefined {
  const certificate = parseUntrusted(der);
  const native = new X509Certificate(der);
  if (!isSelfIssued(der)) return "is not self-signed";
  if (!native.verify(native.publicKey)) return "has a signature that its own key did not make";
  if (!certificate.isCa) return "is not a certificate authority's";
  if (certificate.keyUsage?.includes("keyCertSign") !== true) return "may not sign certificates";
  return undefined;
}

function isSelfIssued(der: Uint8Array): boolean {
  const { issuer, subject } = parseUntrusted(der);
  return equalBytes(issuer.der, subject.der);
}

function readRoots(source: string | Uint8Array | readonly Uint8Array[], name: string): readonly Uint8Array[] {
  try {
    const roots = toDer(source);
    for (const der of roots) {
      if (!parseCertificate(der).isCa) throw new TypeError("a certificate is not a certificate authority's");
    }
    if (roots.length === 0) throw new TypeError("there is no certificate");
    return roots;
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new RksError("CONFIG_INVALID", `root certificates in ${name} cannot be used: ${problem}`, {
      cause,
      suggestion: SUGGESTION,
    });
  }
}

function toDer(source: string | Uint8Array | readonly Uint8Array[]): readonly Uint8Array[] {
  if (typeof source === "string") return decodePemCertificates(source);
  if (!(source instanceof Uint8Array)) return source;
  return source[0] === DER_SEQUENCE ? [source] : decodePemCertificates(source);
}

function parseUntrusted(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw new RksError("SERVER_UNTRUSTED", "the server presented a certificate that cannot be read", {
      cause,
      suggestion: "Check that the address is the control plane's.",
    });
  }
}

function hasPin(certificate: Certificate, pin: Uint8Array): boolean {
  return equalBytes(spkiSha256(certificate), pin);
}
