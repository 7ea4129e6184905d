import { X509Certificate } from "node:crypto";

import { equalBytes } from "@rk8s/protocol";
import { OID, parseNameConstraints } from "@rk8s/x509";

import { isInTime, type PresentedChain, type ReadCertificate } from "./client-certificate.js";

/** Certificates in a path, anchor and leaf included. */
const MAX_PATH = 8;
/** Signatures checked for one login; a verification takes 0.1 ms. */
const MAX_SIGNATURES = 64;
/** Certificates looked at for one role and for one login; certificates that certify each other in a circle take many. */
const MAX_STEPS = 64;
const MAX_STEPS_OF_LOGIN = 8192;

/** Bounds the work of one login: checks no signature twice, and only so many. */
export class SignatureChecks {
  readonly #known = new Map<string, boolean>();
  #steps = 0;

  /** Whether one more certificate may be looked at. */
  takeStep(): boolean {
    this.#steps += 1;
    return this.#steps <= MAX_STEPS_OF_LOGIN;
  }

  /** Whether the issuer's key made the certificate's signature. When too many were checked already nothing is by anybody. */
  isSignedBy(certificate: ReadCertificate, issuer: ReadCertificate): boolean {
    const pair = `${certificate.fingerprint} ${issuer.fingerprint}`;
    const known = this.#known.get(pair);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_SIGNATURES) return false;
    const result = verify(certificate, issuer);
    this.#known.set(pair, result);
    return result;
  }
}

/**
 * Find a path from the presented leaf to one of the trusted certificates (RFC 5280 §6.1, without policies): the leaf itself,
 * or over presented certificates of CAs to a trusted CA. Leaf first, anchor last. What the leaf may be used for is not looked
 * at. A CA whose names are constrained is trusted with nothing: the constraints are not built.
 */
export function findPath(
  { leaf, others }: PresentedChain,
  anchors: readonly ReadCertificate[],
  options: { readonly nowMs: number; readonly checks: SignatureChecks },
): readonly ReadCertificate[] | undefined {
  const { nowMs, checks } = options;
  if (anchors.some(({ fingerprint }) => fingerprint === leaf.fingerprint)) return [leaf];
  let steps = 0;
  const extend = (path: readonly ReadCertificate[]): readonly ReadCertificate[] | undefined => {
    steps += 1;
    if (steps > MAX_STEPS || !checks.takeStep()) return undefined;
    const last = path.at(-1) ?? leaf;
    const below = path.slice(1).filter((one) => !isSelfIssued(one)).length;
    const fits = (issuer: ReadCertificate): boolean =>
      isNamedIssuer(last, issuer) && mayIssue(issuer, below, nowMs) && checks.isSignedBy(last, issuer);
    const anchor = anchors.find(fits);
    if (anchor !== undefined) return [...path, anchor];
    if (path.length >= MAX_PATH - 1) return undefined;
    for (const issuer of others) {
      if (path.includes(issuer) || !fits(issuer)) continue;
      const found = extend([...path, issuer]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return extend([leaf]);
}

function isSelfIssued({ issuer, subject }: ReadCertificate): boolean {
  return equalBytes(issuer.der, subject.der);
}

function isNamedIssuer(child: ReadCertificate, issuer: ReadCertificate): boolean {
  if (!equalBytes(child.issuer.der, issuer.subject.der)) return false;
  const { authorityKeyId } = child;
  const { subjectKeyId } = issuer;
  return (
    authorityKeyId === undefined || subjectKeyId === undefined || equalBytes(authorityKeyId, subjectKeyId)
  );
}

/** @param below how many CAs stand between this one and the leaf (RFC 5280 §4.2.1.9) */
function mayIssue(ca: ReadCertificate, below: number, nowMs: number): boolean {
  return (
    ca.isCa &&
    (ca.pathLength === undefined || below <= ca.pathLength) &&
    (ca.keyUsage === undefined || ca.keyUsage.includes("keyCertSign")) &&
    (ca.extendedKeyUsage === undefined || ca.extendedKeyUsage.some(allowsClients)) &&
    ca.unknownCriticalExtensions.length === 0 &&
    !hasNameConstraints(ca) &&
    isInTime(ca, nowMs)
  );
}

function allowsClients(usage: string): boolean {
  return usage === OID.clientAuth || usage === ANY_EXTENDED_KEY_USAGE;
}

/** RFC 5280 §4.2.1.12. */
const ANY_EXTENDED_KEY_USAGE = "2.5.29.37.0";

function hasNameConstraints(ca: ReadCertificate): boolean {
  try {
    return parseNameConstraints(ca.extensions) !== undefined;
  } catch {
    return true;
  }
}

/** Only by algorithms that rk8s knows, none of which hashes with SHA-1 or MD5. */
function verify(certificate: ReadCertificate, issuer: ReadCertificate): boolean {
  const { name, rsaPss } = certificate.signatureAlgorithm;
  if (name === undefined && rsaPss === undefined) return false;
  try {
    return new X509Certificate(certificate.der).verify(new X509Certificate(issuer.der).publicKey);
  } catch {
    return false;
  }
}
