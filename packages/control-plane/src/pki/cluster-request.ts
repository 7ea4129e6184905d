import { RksError } from "@rk8s/protocol";
import { type CertificateRequest, nameValues, OID, parseCertificateRequest } from "@rk8s/x509";
import { assertProofOfPossession } from "./signing.js";

/** Who the certificate will be for; decided by the token and the role, never by the request. */
export interface ClusterSubject {
  /** CN: node name or token id. */
  readonly name: string;
  /** SPIFFE id. */
  readonly uri: string;
}

/**
 * Parse a node's or operator's CSR and check that it proves possession of an acceptable key and does not ask to be
 * someone or something else. What it asks for beyond that is ignored: it never ends up in the certificate.
 * @throws {RksError} KEY_TOO_WEAK; CSR_INVALID for a request that cannot be read, has a wrong signature, asks for CA:TRUE or the
 * right to sign certificates, or carries a CN, DNS name or URI of someone else.
 */
export function acceptClusterRequest(csr: Uint8Array, subject: ClusterSubject): CertificateRequest {
  const request = parseCertificateRequest(csr);
  assertProofOfPossession(request);
  const { requested } = request;
  if (requested.isCa) refuse("it asks for CA:TRUE");
  if (requested.keyUsage?.includes("keyCertSign") === true)
    refuse("it asks for the right to sign certificates");
  for (const name of nameValues(request.subject, OID.commonName)) {
    if (name !== subject.name)
      refuse(`it asks for CN ${quote(name)}, the certificate will be for "${subject.name}"`);
  }
  for (const name of requested.dnsNames) {
    const own = name === subject.name || name.startsWith(`${subject.name}.`);
    if (!own) refuse(`it asks for DNS name ${quote(name)}, the certificate will be for "${subject.name}"`);
  }
  for (const uri of requested.uris) {
    if (uri !== subject.uri)
      refuse(`it asks for URI ${quote(uri)}, the certificate will be for "${subject.uri}"`);
  }
  return request;
}

function refuse(problem: string): never {
  throw new RksError("CSR_INVALID", `certificate request is refused: ${problem}`, {
    suggestion: "Ask for the name that the token or the node record allows, or for none at all.",
  });
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
