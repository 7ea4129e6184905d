import { equalBytes } from "@rk8s/protocol";
import type { Certificate } from "@rk8s/x509";
import { isSignedBy } from "../signing.js";
import type { Issuer } from "./issuer.js";

/** Whether one certificate is signed by another; answers are kept by whoever builds chains. */
export type SignedBy = (child: Issuer, parent: Issuer) => boolean;

/**
 * The certificates from an issuer upwards: itself, the shortest way to a self-signed one, then every other ancestor that
 * cross-signing gave it, each once. Circles do no harm. A manual chain is taken as it is.
 */
export function buildChain(
  issuer: Issuer,
  known: ReadonlyMap<string, Issuer>,
  signedBy: SignedBy,
): readonly Issuer[] {
  if (issuer.manualChain.length > 0) {
    return issuer.manualChain.map((id) => known.get(id)).filter((link) => link !== undefined);
  }
  const childOf = new Map<Issuer, Issuer | undefined>([[issuer, undefined]]);
  for (const child of childOf.keys()) {
    const parents = [...known.values()].filter((parent) => !childOf.has(parent) && signedBy(child, parent));
    for (const parent of parents.toSorted(byPreference)) childOf.set(parent, child);
  }
  const all = [...childOf.keys()];
  const root = all.find(({ certificate }) => isSelfSigned(certificate));
  const way: Issuer[] = [];
  for (let link = root; link !== undefined; link = childOf.get(link)) way.unshift(link);
  return [...new Set([...way, ...all])];
}

/** Whether a certificate names itself as issuer and its own key signed it. */
export function isSelfSigned(certificate: Certificate): boolean {
  return (
    equalBytes(certificate.issuer.der, certificate.subject.der) &&
    isSignedBy(certificate, certificate.publicKey)
  );
}

/** Whether `parent` may have signed `child` by its names, and did by its key (RFC 5280 §6.1.3). */
export function isIssuedBy(child: Certificate, parent: Certificate): boolean {
  if (!equalBytes(child.issuer.der, parent.subject.der)) return false;
  const { authorityKeyId } = child;
  const { subjectKeyId } = parent;
  if (
    authorityKeyId !== undefined &&
    subjectKeyId !== undefined &&
    !equalBytes(authorityKeyId, subjectKeyId)
  ) {
    return false;
  }
  return isSignedBy(child, parent.publicKey);
}

/** Self-signed before cross-signed, then what lasts longer. */
function byPreference(a: Issuer, b: Issuer): number {
  const roots = Number(isSelfSigned(b.certificate)) - Number(isSelfSigned(a.certificate));
  return roots === 0 ? b.certificate.notAfter - a.certificate.notAfter : roots;
}
