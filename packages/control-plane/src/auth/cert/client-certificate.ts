import { createHash } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import { type Certificate, OID, parseCertificate } from "@rk8s/x509";

/** More in a chain than any public key infrastructure has. */
const MAX_PRESENTED = 16;

/** A certificate as it was read, and what tells it from all others. */
export interface ReadCertificate extends Certificate {
  /** SHA-256 of the whole, as text. */
  readonly fingerprint: string;
}

/** @throws {RksError} CERTIFICATE_INVALID */
export function readCertificate(der: Uint8Array): ReadCertificate {
  return { ...parseCertificate(der), fingerprint: createHash("sha256").update(der).digest("base64") };
}

/** What a client presented, each certificate once, its own first. Nothing of it is verified. */
export interface PresentedChain {
  readonly leaf: ReadCertificate;
  readonly others: readonly ReadCertificate[];
}

/**
 * Read what a TLS client presented.
 * @throws {RksError} INPUT_INVALID when there is nothing, too much, or what cannot be read.
 */
export function readPresented(certificates: readonly Uint8Array[] = []): PresentedChain {
  if (certificates.length === 0) {
    throw new RksError("INPUT_INVALID", "client certificate must be supplied", {
      suggestion: "Connect with a TLS client certificate.",
    });
  }
  if (certificates.length > MAX_PRESENTED) {
    throw refusedCertificate(
      `${certificates.length} certificates came with it, at most ${MAX_PRESENTED} may`,
    );
  }
  let read: ReadCertificate[];
  try {
    read = certificates.map(readCertificate);
  } catch (reason) {
    throw refusedCertificate(RksError.from(reason).message);
  }
  const [leaf, ...others] = new Map(read.map((one) => [one.fingerprint, one])).values();
  if (leaf === undefined) throw new TypeError("a list that is not empty has a first member");
  return { leaf, others };
}

/**
 * What keeps a certificate from being a TLS client's, whoever issued it (RFC 5280 §4.2.1.3, §4.2.1.12). Undefined: nothing.
 * @param isPinned the certificate itself is trusted, so it may be a CA's and need not name a usage
 */
export function clientProblem(
  certificate: ReadCertificate,
  nowMs: number,
  isPinned: boolean,
): string | undefined {
  const { keyUsage, extendedKeyUsage, isCa, unknownCriticalExtensions } = certificate;
  if (!isInTime(certificate, nowMs)) return "it is not valid at this time";
  if (unknownCriticalExtensions.length > 0) {
    return `its critical extension ${unknownCriticalExtensions[0]} is not known`;
  }
  if (keyUsage !== undefined && !keyUsage.includes("digitalSignature")) return "its key may not sign";
  if (!isPinned && (isCa || keyUsage?.includes("keyCertSign") === true)) {
    return "it is a certificate authority's";
  }
  if (isPinned && extendedKeyUsage === undefined) return undefined;
  return extendedKeyUsage?.includes(OID.clientAuth) === true
    ? undefined
    : "it is not for TLS clients: its extended key usage lacks clientAuth";
}

/** Both dates are inclusive (RFC 5280 §4.1.2.5). */
export function isInTime({ notBefore, notAfter }: Certificate, nowMs: number): boolean {
  return nowMs >= notBefore && nowMs < notAfter + 1000;
}

/** The refusal of a client certificate for what it is itself. */
export function refusedCertificate(problem: string): RksError {
  return new RksError("INPUT_INVALID", `the client certificate is refused: ${problem}`, {
    suggestion: "Connect with a certificate that is for TLS clients and valid.",
  });
}
