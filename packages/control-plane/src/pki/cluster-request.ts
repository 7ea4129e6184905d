import { RksError } from "@rk8s/protocol";
import type { CertificateRequest } from "@rk8s/x509";
import { assertProofOfPossession } from "./signing.js";

declare const PROVEN: unique symbol;

/** A request whose signature was checked: whoever made it holds the key. Only `proveClusterRequest` makes one. */
export type ProvenRequest = CertificateRequest & { readonly [PROVEN]: true };

/** Who the certificate will be for; decided by the token and the role, never by the request. */
export interface ClusterSubject {
  /** CN: node name or token id. */
  readonly name: string;
  /** SPIFFE id. */
  readonly uri: string;
}

/**
 * Check that a node's or operator's CSR proves possession of an acceptable key. It costs more than everything else
 * about a request, so it is done once and its result handed on.
 * @throws {RksError} KEY_TOO_WEAK; CSR_INVALID for a wrong signature.
 */
export function proveClusterRequest(request: CertificateRequest): ProvenRequest {
  assertProofOfPossession(request);
  return request as ProvenRequest;
}

/**
 * Refuse a CSR that asks to be someone or something else. What it asks for beyond that is ignored: it never ends up
 * in the certificate. Its CN is a wish that enrolment weighs (`chooseNodeName`), not a claim.
 * @throws {RksError} CSR_INVALID for a request for CA:TRUE or the right to sign certificates, or with a DNS name or
 * URI of someone else.
 */
export function assertModest({ requested }: ProvenRequest, subject: ClusterSubject): void {
  if (requested.isCa) refuse("it asks for CA:TRUE");
  if (requested.keyUsage?.includes("keyCertSign") === true)
    refuse("it asks for the right to sign certificates");
  for (const name of requested.dnsNames) {
    const lower = name.toLowerCase();
    const own = lower === subject.name || lower.startsWith(`${subject.name}.`);
    if (!own) refuse(`it asks for DNS name ${quote(name)}, the certificate will be for "${subject.name}"`);
  }
  for (const uri of requested.uris) {
    if (uri !== subject.uri)
      refuse(`it asks for URI ${quote(uri)}, the certificate will be for "${subject.uri}"`);
  }
}

function refuse(problem: string): never {
  throw new RksError("CSR_INVALID", `certificate request is refused: ${problem}`, {
    suggestion: "Ask for the name that the token or the node record allows, or for none at all.",
  });
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
