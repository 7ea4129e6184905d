import { equalBytes, RksError, type Message } from "@rk8s/protocol";
import { parseCertificate, parseClientLeaf, type Certificate, type ClientIdentity } from "@rk8s/x509";
import { type CertificateExchange, Identity } from "../identity/identity.js";
import type { KeyPair } from "../identity/key-pair.js";
import { leadsToTrusted, type TrustedRoots } from "../identity/trusted-roots.js";

export interface CertificateExpectation {
  readonly role: "node" | "operator";
  readonly keyPair: KeyPair;
  /** The join token that an operator's certificate names; a node's names none. */
  readonly tokenId?: string | undefined;
  /** The name that was asked for, if one was. */
  readonly nodeName: string | undefined;
  /** DER, the roots trusted so far. */
  readonly roots: readonly Uint8Array[];
  /** SHA-256 of the SubjectPublicKeyInfo of intermediates that do not count. */
  readonly refusedIssuers?: readonly Uint8Array[] | undefined;
  readonly nowMs: number;
  /** What the identity remembers of the exchange, so that it can be stashed. */
  readonly exchange?: CertificateExchange | undefined;
}

/**
 * Check a `Certificate` answer and make an identity of it, which owns the key pair from then on. The leaf must be
 * for our key and our role, carry the name that the message gives (and that we asked for), be valid now, and chain
 * to a root that is already trusted.
 * @throws {RksError} CERTIFICATE_INVALID when any of that does not hold; CLOCK_SKEW when the clocks are too far
 * apart for the certificate to be used.
 */
export function readCertificateAnswer(
  answer: Message<"Certificate">,
  expected: CertificateExpectation,
): Identity {
  const leaf = parseOr(answer.leaf);
  if (!equalBytes(leaf.spki, expected.keyPair.spki)) throw refused("it is for another key");
  if (answer.serialNumber.toLowerCase().replaceAll(/[:-]/g, "") !== leaf.serialNumber) {
    throw refused(`its serial number is ${leaf.serialNumber}, the answer says "${answer.serialNumber}"`);
  }
  assertDates(leaf, expected.nowMs);
  assertName(readLeaf(answer.leaf, leaf), answer, expected);
  assertChain([answer.leaf, ...answer.chain], expected);
  for (const root of answer.trustBundle) {
    if (!parseOr(root).isCa) throw refused("its trust bundle holds a certificate that is no authority's");
  }
  const { role, keyPair, exchange } = expected;
  const trust = {
    generation: answer.trustGeneration ?? 0,
    roots: answer.trustBundle,
    refusedIssuers: answer.refusedIssuers,
  };
  return identityOf(answer, { role, keyPair, exchange, trust });
}

/**
 * Make an identity of an answer that was checked when it came, with the roots that are trusted now. Only that the
 * certificate is for this key is checked again: its time may be over, which is for its user to find.
 * @throws {RksError} CERTIFICATE_INVALID when it is for another key.
 */
export function restoreIdentity(
  answer: Message<"Certificate">,
  known: Pick<CertificateExpectation, "role" | "keyPair" | "exchange"> & { readonly trust: TrustedRoots },
): Identity {
  if (!equalBytes(parseOr(answer.leaf).spki, known.keyPair.spki)) throw refused("it is for another key");
  return identityOf(answer, known);
}

function identityOf(
  answer: Message<"Certificate">,
  known: Pick<CertificateExpectation, "role" | "keyPair" | "exchange"> & { readonly trust: TrustedRoots },
): Identity {
  return new Identity(
    {
      role: known.role,
      nodeName: answer.nodeName,
      certificateChain: [answer.leaf, ...answer.chain.filter((der) => !isSelfIssued(parseOr(der)))],
      trustBundle: known.trust.roots,
      trustGeneration: known.trust.generation,
      refusedIssuers: known.trust.refusedIssuers,
      serialNumber: answer.serialNumber,
      notAfter: new Date(parseOr(answer.leaf).notAfter),
      issuedAt: issueOf(answer),
      renewAfter: new Date(answer.renewAfter),
      recovery: answer.recovery,
      exchange: known.exchange,
    },
    known.keyPair,
  );
}

/** `renewAfter` is two thirds of the way from the issue to the end. The leaf itself has whole seconds only. */
function issueOf(answer: Message<"Certificate">): Date {
  const [renewAfter, notAfter] = [Date.parse(answer.renewAfter), Date.parse(answer.notAfter)];
  return new Date(renewAfter - 2 * (notAfter - renewAfter));
}

function readLeaf(der: Uint8Array, leaf: Certificate): ClientIdentity {
  // Which trust domain the cluster has is the server's to say; that there is exactly one is ours to check.
  const trustDomain = /^spiffe:\/\/([^/]+)\//.exec(leaf.uris[0] ?? "")?.[1] ?? "";
  try {
    return parseClientLeaf(der, { trustDomain });
  } catch (cause) {
    throw refused(RksError.from(cause).message, cause);
  }
}

function assertName(
  identity: ClientIdentity,
  answer: Message<"Certificate">,
  expected: CertificateExpectation,
): void {
  const { role, tokenId, nodeName } = expected;
  if (identity.kind !== role) throw refused(`it is for role "${identity.kind}", "${role}" was asked for`);
  if (identity.kind === "operator") {
    if (identity.tokenId !== tokenId) throw refused(`it names another join token, "${identity.tokenId}"`);
    return;
  }
  if (identity.name !== answer.nodeName) {
    throw refused(`it names "${identity.name}", the answer says "${answer.nodeName}"`);
  }
  if (nodeName !== undefined && identity.name !== nodeName) {
    throw refused(`it names "${identity.name}", "${nodeName}" was asked for`);
  }
}

function assertDates(leaf: Certificate, nowMs: number): void {
  if (nowMs >= leaf.notBefore && nowMs <= leaf.notAfter) return;
  const [from, to, now] = [leaf.notBefore, leaf.notAfter, nowMs].map((ms) => new Date(ms).toISOString());
  throw new RksError("CLOCK_SKEW", `the new certificate is valid from ${from} to ${to}, here it is ${now}`, {
    suggestion: "Set this host's clock right (timedatectl set-ntp true), then try again.",
  });
}

function assertChain(chain: readonly Uint8Array[], trust: Omit<TrustedRoots, "generation">): void {
  for (const der of chain) parseOr(der);
  if (!leadsToTrusted(chain, trust)) throw refused("its chain does not lead to a trusted root");
}

function isSelfIssued(certificate: Certificate): boolean {
  return equalBytes(certificate.issuer.der, certificate.subject.der);
}

function parseOr(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw refused(RksError.from(cause).message, cause);
  }
}

function refused(problem: string, cause?: unknown): RksError {
  return new RksError(
    "CERTIFICATE_INVALID",
    `the control plane's certificate for us is refused: ${problem}`,
    {
      cause,
      suggestion: "Please report this with the log of the control plane.",
    },
  );
}
