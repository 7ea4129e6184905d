import { equalBytes, RksError } from "@rk8s/protocol";
import {
  type Certificate,
  decodePem,
  decodePemCertificates,
  formatName,
  OID,
  parseCertificate,
  parseNameConstraints,
} from "@rk8s/x509";
import { INTERMEDIATE_PATH_LENGTH } from "./cluster-intermediate-request.js";
import { type ClusterRoot, type ClusterRoots, isOffline, issuersOf, rootsOf } from "./cluster-roots.js";
import { assertKeyStrength, isSignedBy } from "./signing.js";

/** An intermediate, its root, the root's cross-certificate; one more by mistake gets its own refusal. */
const MAX_CERTIFICATES = 8;
/**
 * An RSA-4096 certificate with its names has less. Chains of such go into the pipes in which a supervisor holds a
 * node's identity (48 KB).
 */
const MAX_CERTIFICATE_BYTES = 2048;
/** What every TLS library that meets the cluster's certificates verifies. */
const CURVES: ReadonlySet<string> = new Set(["P-256", "P-384"]);
const USAGES = [OID.serverAuth, OID.clientAuth] as const;

/** What comes back from the place where the offline root is. */
interface SignedIntermediate {
  /** For one of our keys. */
  readonly intermediate: Certificate;
  /** Self-signed; may be left out when it is known. */
  readonly root: Certificate | undefined;
  /** The new root's name and key, signed by the root of before. */
  readonly cross: Certificate | undefined;
}

/**
 * Tell apart the certificates of a PEM text, in any order: that for one of `keys` (SubjectPublicKeyInfo, DER), the
 * self-signed root, the root's cross-certificate. Nothing else is checked.
 * @throws {RksError} CERTIFICATE_INVALID for what is no PEM certificate, for one that is none of these, and when there is none for our keys.
 */
export function readSignedIntermediate(pem: string, keys: readonly Uint8Array[]): SignedIntermediate {
  const certificates = readPem(pem);
  const mine = certificates.filter(({ spki }) => keys.some((key) => equalBytes(key, spki)));
  const [intermediate] = mine;
  if (intermediate === undefined) {
    throw refused("none of the certificates is for the key of the request", "Sign what `rks ca csr` prints.");
  }
  const rest = certificates.filter((one) => !mine.includes(one));
  const roots = rest.filter(isSelfIssued);
  const [root] = roots;
  const crosses = rest.filter((one) => !roots.includes(one));
  const [cross] = crosses;
  if (mine.length > 1 || roots.length > 1 || crosses.length > 1) {
    throw refused(
      `there are ${mine.length} intermediates, ${roots.length} roots and ${crosses.length} others`,
      "Give the intermediate, the root that signed it, and nothing that lies between: the root signs the intermediate itself.",
    );
  }
  if (cross !== undefined && (root === undefined || !equalBytes(cross.spki, root.spki))) {
    throw refused(
      `"${formatName(cross.subject)}" is neither the intermediate nor its root`,
      "Let the root sign the intermediate itself; longer chains are not accepted.",
    );
  }
  return { intermediate, root, cross };
}

/**
 * Check that a certificate can be the offline root of a cluster: self-signed, CA:TRUE with room for an intermediate,
 * keyCertSign, valid now, a key that everybody verifies, no constraints.
 * @throws {RksError} CERTIFICATE_INVALID, KEY_TOO_WEAK.
 */
export function assertOfflineRoot(root: Certificate, now: number): void {
  const refuse = (problem: string): never => {
    throw refused(`the root ${problem}`, "Make the root as docs/offline-root.md says.");
  };
  if (!isSelfIssued(root) || !isSignedBy(root, root.publicKey)) refuse("is not self-signed");
  assertAuthority(root, refuse);
  if (root.pathLength === 0) refuse("allows no intermediate (pathlen:0)");
  assertVerifiable(root, refuse);
  assertDates(root, now, refuse);
}

/**
 * Check that a certificate can sign for an offline root: signed by it, CA:TRUE with pathlen:0, keyCertSign and cRLSign,
 * dates within the root's and valid now, and a name of its own. Only leaves are below it, whatever their names: so name constraints are refused.
 * @throws {RksError} CERTIFICATE_INVALID.
 */
export function assertIntermediate(
  intermediate: Certificate,
  {
    root,
    known,
    now,
  }: { readonly root: Certificate; readonly known: readonly Certificate[]; readonly now: number },
): void {
  const refuse = (problem: string): never => {
    throw refused(`the intermediate ${problem}`, "Sign the request as docs/offline-root.md says.");
  };
  if (!equalBytes(intermediate.issuer.der, root.subject.der)) {
    refuse(`was issued by "${formatName(intermediate.issuer)}", not by "${formatName(root.subject)}"`);
  }
  if (!isSignedBy(intermediate, root.publicKey)) refuse("has a signature that the root's key did not make");
  assertAuthority(intermediate, refuse);
  if (intermediate.pathLength !== INTERMEDIATE_PATH_LENGTH) {
    refuse(
      `has path length ${intermediate.pathLength ?? "without limit"} instead of ${INTERMEDIATE_PATH_LENGTH}`,
    );
  }
  if (intermediate.keyUsage?.includes("cRLSign") !== true) refuse("may not sign revocation lists (cRLSign)");
  if (intermediate.notBefore < root.notBefore || intermediate.notAfter > root.notAfter) {
    refuse(`is valid ${datesOf(intermediate)}, beyond the root's ${datesOf(root)}`);
  }
  assertDates(intermediate, now, refuse);
  if (intermediate.subject.rdns.length === 0) refuse("has no name");
  for (const { subject, spki } of [root, ...known]) {
    const isNamesake = equalBytes(subject.der, intermediate.subject.der);
    if (isNamesake === equalBytes(spki, intermediate.spki)) continue;
    if (isNamesake) refuse(`has the name "${formatName(subject)}", which belongs to another key`);
    else refuse(`has another name than "${formatName(subject)}", which its key had before`);
  }
}

/**
 * Check a cross-certificate: the new root's name and key, signed by the root of before, which rks could not do itself.
 * @throws {RksError} CERTIFICATE_INVALID.
 */
export function assertCross(
  cross: Certificate,
  { root, signer, now }: { readonly root: Certificate; readonly signer: ClusterRoot; readonly now: number },
): void {
  const refuse = (problem: string): never => {
    throw refused(`the cross-certificate ${problem}`, "Sign the new root as docs/offline-root.md says.");
  };
  if (!isOffline(signer)) refuse("is not needed: the root of before signs here");
  if (!equalBytes(cross.subject.der, root.subject.der)) refuse("has another name than the new root");
  const { certificate } = signer;
  if (!equalBytes(cross.issuer.der, certificate.subject.der) || !isSignedBy(cross, certificate.publicKey)) {
    refuse(`was not signed by "${formatName(certificate.subject)}", the root of before`);
  }
  if (certificate.pathLength === 1)
    refuse("cannot hold: the root of before allows only one level (pathlen:1)");
  assertAuthority(cross, refuse);
  if (cross.pathLength === 0) refuse("allows no intermediate (pathlen:0)");
  assertDates(cross, now, refuse);
}

/** Every certificate that signs or has signed for these roots. */
export function knownIssuers(roots: ClusterRoots): readonly Certificate[] {
  return rootsOf(roots)
    .flatMap(issuersOf)
    .map(({ certificate }) => certificate);
}

function readPem(pem: string): readonly Certificate[] {
  let certificates: readonly Certificate[];
  try {
    certificates = decodePemCertificates(pem).map(parseCertificate);
  } catch (cause) {
    throw refused(
      `they cannot be read: ${RksError.from(cause).message}`,
      "Give the certificates in PEM.",
      cause,
    );
  }
  if (decodePem(pem).some(({ label }) => label.endsWith("PRIVATE KEY"))) {
    throw refused(
      "there is a private key among them",
      "Leave every key where it is: only certificates are wanted.",
    );
  }
  if (certificates.length > MAX_CERTIFICATES) {
    throw refused(`there are ${certificates.length} of them`, "Give the intermediate and its root alone.");
  }
  for (const { der, subject } of certificates) {
    if (der.length <= MAX_CERTIFICATE_BYTES) continue;
    throw refused(
      `"${formatName(subject)}" has ${der.length} bytes, at most ${MAX_CERTIFICATE_BYTES} are possible`,
      "Leave out extensions that TLS does not need.",
    );
  }
  return certificates;
}

function assertAuthority(certificate: Certificate, refuse: (problem: string) => never): void {
  const { keyUsage, extendedKeyUsage, unknownCriticalExtensions, extensions } = certificate;
  if (!certificate.isCa) refuse("is no certificate authority's (CA:TRUE)");
  if (keyUsage?.includes("keyCertSign") !== true) refuse("may not sign certificates (keyCertSign)");
  if (extendedKeyUsage !== undefined && !USAGES.every((usage) => extendedKeyUsage.includes(usage))) {
    refuse("is limited to other uses than serverAuth and clientAuth");
  }
  if (parseNameConstraints(extensions) !== undefined) refuse("has name constraints");
  const [unknown] = unknownCriticalExtensions;
  if (unknown !== undefined) refuse(`has the unknown critical extension ${unknown}`);
}

/** @throws {RksError} KEY_TOO_WEAK. */
function assertVerifiable({ publicKey }: Certificate, refuse: (problem: string) => never): void {
  assertKeyStrength(publicKey);
  const isCommon =
    publicKey.algorithm === "rsa" || (publicKey.algorithm === "ec" && CURVES.has(publicKey.curve));
  if (!isCommon) refuse("has a key that is neither RSA nor EC on P-256 or P-384");
}

function assertDates(certificate: Certificate, now: number, refuse: (problem: string) => never): void {
  if (now >= certificate.notBefore && now < certificate.notAfter) return;
  refuse(`is valid ${datesOf(certificate)}, not at ${new Date(now).toISOString()}`);
}

function datesOf({ notBefore, notAfter }: Certificate): string {
  return `from ${new Date(notBefore).toISOString()} to ${new Date(notAfter).toISOString()}`;
}

function isSelfIssued({ issuer, subject }: Certificate): boolean {
  return equalBytes(issuer.der, subject.der);
}

function refused(problem: string, suggestion: string, cause?: unknown): RksError {
  return new RksError("CERTIFICATE_INVALID", `the certificates of an offline root are refused: ${problem}`, {
    cause,
    suggestion,
  });
}
