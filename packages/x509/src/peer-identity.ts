import { type ErrorCode, RksError } from "@rk8s/protocol";
import { type Certificate, parseCertificate } from "./certificate.js";
import { nameValues } from "./name.js";
import { OID } from "./oids.js";

/** Who a client certificate of the cluster names. */
export type ClientIdentity = NodeIdentity | OperatorIdentity;

export interface NodeIdentity {
  readonly kind: "node";
  readonly name: string;
  readonly certificate: Certificate;
}

export interface OperatorIdentity {
  readonly kind: "operator";
  /** Id of the join token that the certificate was issued for. */
  readonly tokenId: string;
  readonly certificate: Certificate;
}

export interface ServerLeafExpectation {
  /** The one name that the certificate must carry, compared exactly; wildcards never match. */
  readonly dnsName: string;
  /** Milliseconds since the epoch. When given, the dates are checked too. */
  readonly now?: number;
}

export interface ClientLeafExpectation {
  readonly trustDomain: string;
  /** Milliseconds since the epoch. When given, the dates are checked too. */
  readonly now?: number;
}

/** A SPIFFE path segment (SPIFFE-ID §2.2). */
const PATH_SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,253}$/;

/**
 * Check what TLS does not: that a server's leaf is for a server and for nothing else, is no CA, and carries exactly the
 * expected name. The chain, and without `now` the dates, are the transport's to check.
 * @throws {RksError} SERVER_UNTRUSTED when it may not be a server's, SERVER_NAME_MISMATCH when it is another server's.
 */
export function assertServerLeaf(der: Uint8Array, expected: ServerLeafExpectation): Certificate {
  const certificate = parseLeaf(der, "SERVER_UNTRUSTED", OID.serverAuth, expected.now);
  const commonNames = nameValues(certificate.subject, OID.commonName);
  const named = certificate.dnsNames.includes(expected.dnsName);
  if (!named || commonNames.some((name) => name !== expected.dnsName)) {
    const found = [...new Set([...commonNames, ...certificate.dnsNames])]
      .map((name) => `"${name}"`)
      .join(", ");
    throw new RksError(
      "SERVER_NAME_MISMATCH",
      `server certificate is for ${found === "" ? "no DNS name" : found}, expected "${expected.dnsName}"`,
      { suggestion: "Check that the address is the control plane's and not another server's." },
    );
  }
  return certificate;
}

/**
 * Check what TLS does not about a client's leaf, and say who it names: exactly one EKU (clientAuth), no CA, exactly one
 * subjectAltName `spiffe://<trust domain>/node/<name>` or `/operator/<token id>`, and a subject that is that CN alone. Whether
 * the node exists and the serial is its current one is for the caller.
 * @throws {RksError} CLIENT_CERTIFICATE_REFUSED when any of that does not hold, CERTIFICATE_EXPIRED when `now` lies outside its dates.
 */
export function parseClientLeaf(der: Uint8Array, expected: ClientLeafExpectation): ClientIdentity {
  const certificate = parseLeaf(der, "CLIENT_CERTIFICATE_REFUSED", OID.clientAuth, expected.now);
  const [uri, ...moreUris] = certificate.uris;
  const others = certificate.dnsNames.length + certificate.ipAddresses.length + certificate.emails.length;
  if (uri === undefined || moreUris.length > 0 || others + certificate.otherNames > 0) {
    refuseClient(
      `it has ${certificate.uris.length} URI names and ${others + certificate.otherNames} others instead of one URI`,
    );
  }
  const prefix = `spiffe://${expected.trustDomain}/`;
  const [kind, name, ...rest] = uri.startsWith(prefix) ? uri.slice(prefix.length).split("/") : [];
  if (
    name === undefined ||
    rest.length > 0 ||
    !PATH_SEGMENT.test(name) ||
    (kind !== "node" && kind !== "operator")
  ) {
    refuseClient(`"${uri}" is not a node or an operator of trust domain "${expected.trustDomain}"`);
  }
  const subject = certificate.subject.rdns.flat();
  if (subject.length !== 1 || subject[0]?.type !== OID.commonName || subject[0].value !== name) {
    refuseClient(`its subject is not CN="${name}" alone`);
  }
  return kind === "node" ? { kind, name, certificate } : { kind, tokenId: name, certificate };
}

/**
 * As `parseClientLeaf`, and the client must be a node.
 * @throws {RksError} CLIENT_CERTIFICATE_REFUSED, also for an operator's certificate; CERTIFICATE_EXPIRED.
 */
export function parseNodeLeaf(der: Uint8Array, expected: ClientLeafExpectation): NodeIdentity {
  const identity = parseClientLeaf(der, expected);
  if (identity.kind !== "node") refuseClient(`it belongs to operator "${identity.tokenId}", not to a node`);
  return identity;
}

function parseLeaf(der: Uint8Array, code: ErrorCode, usage: string, now: number | undefined): Certificate {
  const certificate = parseOr(der, code);
  const refuse = (problem: string): never => {
    throw code === "SERVER_UNTRUSTED" ? serverUntrusted(problem) : clientRefused(problem);
  };
  const { extendedKeyUsage, keyUsage, unknownCriticalExtensions } = certificate;
  if (certificate.isCa || keyUsage?.includes("keyCertSign") === true)
    refuse("it is a certificate authority's");
  if (extendedKeyUsage?.length !== 1 || extendedKeyUsage[0] !== usage) {
    const wanted = usage === OID.serverAuth ? "serverAuth" : "clientAuth";
    refuse(
      `its extended key usage is ${extendedKeyUsage?.join(", ") ?? "absent"} instead of ${wanted} alone`,
    );
  }
  if (keyUsage !== undefined && !keyUsage.includes("digitalSignature")) refuse("its key may not sign");
  if (unknownCriticalExtensions.length > 0)
    refuse(`it has the unknown critical extension ${unknownCriticalExtensions[0]}`);
  if (now !== undefined && (now < certificate.notBefore || now >= certificate.notAfter + 1000)) {
    const dates = `${isoSeconds(certificate.notBefore)} to ${isoSeconds(certificate.notAfter)}`;
    if (code === "SERVER_UNTRUSTED") refuse(`it is valid from ${dates}, not at ${isoSeconds(now)}`);
    throw new RksError(
      "CERTIFICATE_EXPIRED",
      `certificate is valid from ${dates}, not at ${isoSeconds(now)}`,
      {
        suggestion:
          "Compare the clocks of both hosts; join again with a new token if the certificate is too old.",
      },
    );
  }
  return certificate;
}

function parseOr(der: Uint8Array, code: ErrorCode): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    const problem = RksError.from(cause).message;
    throw code === "SERVER_UNTRUSTED" ? serverUntrusted(problem, cause) : clientRefused(problem, cause);
  }
}

function refuseClient(problem: string): never {
  throw clientRefused(problem);
}

function clientRefused(problem: string, cause?: unknown): RksError {
  return new RksError("CLIENT_CERTIFICATE_REFUSED", `client certificate is refused: ${problem}`, {
    cause,
    suggestion: "Join with a token of this cluster to get a certificate that it accepts.",
  });
}

function serverUntrusted(problem: string, cause?: unknown): RksError {
  return new RksError("SERVER_UNTRUSTED", `server certificate is not trusted: ${problem}`, {
    cause,
    suggestion: "Check that the address is the control plane's and that the root certificate is its own.",
  });
}

function isoSeconds(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/\.\d+Z$/, "Z");
}
