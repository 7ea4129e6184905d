import { createHash, X509Certificate } from "node:crypto";
import { equalBytes, RksError, type Message } from "@rk8s/protocol";
import { parseCertificate, type Certificate } from "@rk8s/x509";

/** Which roots a node trusts. The generation grows with every change that the control plane makes. */
export interface TrustedRoots {
  readonly generation: number;
  /** DER. */
  readonly roots: readonly Uint8Array[];
  /** SHA-256 of the SubjectPublicKeyInfo of intermediates that these roots have signed and whose signatures do not count. */
  readonly refusedIssuers?: readonly Uint8Array[] | undefined;
}

/** An intermediate of an offline root, and that root under another one's signature: a chain has no more between leaf and root. */
const MAX_ISSUERS_BETWEEN = 2;

/** The newer of two; what is not newer changes nothing. */
export function newerRoots(known: TrustedRoots, heard: TrustedRoots): TrustedRoots {
  return heard.generation > known.generation ? heard : known;
}

/**
 * The roots that the control plane wants to be trusted from now on. Only a control plane that was verified by the roots
 * so far gets to say it: whoever calls this has the message from such a connection. Dates are not checked: a root that
 * is not valid yet, or not any more by this host's clock, verifies nothing and does no harm.
 * @throws {RksError} CERTIFICATE_INVALID for a bundle with anything else than self-signed certificate authorities.
 */
export function readTrustBundle({
  generation,
  bundle,
  refusedIssuers,
}: Message<"TrustBundle">): TrustedRoots {
  for (const der of bundle) {
    const problem = rootProblem(der);
    if (problem === undefined) continue;
    throw new RksError("CERTIFICATE_INVALID", `the bundle of roots is refused: a certificate ${problem}`, {
      suggestion: "Look at `rks ca status` on the control plane.",
    });
  }
  return { generation, roots: bundle, refusedIssuers };
}

function rootProblem(der: Uint8Array): string | undefined {
  let root: Certificate;
  try {
    root = parseCertificate(der);
  } catch {
    return "cannot be read";
  }
  if (!root.isCa || root.keyUsage?.includes("keyCertSign") === false) return "is no certificate authority's";
  return isIssuedBy(der, der) ? undefined : "is not self-signed";
}

/**
 * Whether a chain leads to a trusted root, over two issuers at most and none that is refused: each certificate is signed
 * by the next, until one is trusted or signed by one that is; what follows does not count, it is for those who trust another
 * root. Dates are not checked.
 * @throws {RksError} for what is no certificate.
 */
export function leadsToTrusted(
  chain: readonly Uint8Array[],
  { roots, refusedIssuers = [] }: Omit<TrustedRoots, "generation">,
): boolean {
  for (const [i, der] of chain.entries()) {
    const isRefused = (): boolean => refusedIssuers.some((key) => equalBytes(key, spkiSha256(der)));
    if (i > 0 && isRefused()) return false;
    if (roots.some((root) => equalBytes(root, der) || isIssuedBy(der, root))) return true;
    if (i >= MAX_ISSUERS_BETWEEN) return false;
    const issuer = chain[i + 1];
    if (issuer === undefined || !isIssuedBy(der, issuer)) return false;
  }
  return false;
}

function spkiSha256(der: Uint8Array): Uint8Array {
  return createHash("sha256").update(parseCertificate(der).spki).digest();
}

function isIssuedBy(der: Uint8Array, issuerDer: Uint8Array): boolean {
  const issuer = parseCertificate(issuerDer);
  if (!issuer.isCa || issuer.keyUsage?.includes("keyCertSign") === false) return false;
  if (!equalBytes(parseCertificate(der).issuer.der, issuer.subject.der)) return false;
  return new X509Certificate(der).verify(new X509Certificate(issuerDer).publicKey);
}
