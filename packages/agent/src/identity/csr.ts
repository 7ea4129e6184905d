import { RksError } from "@rk8s/protocol";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  encodeName,
  encodeSignatureAlgorithm,
  OID,
  parseCertificateRequest,
} from "@rk8s/x509";
import type { KeyPair } from "./key-pair.js";

export interface CertificateRequestInit {
  /** Common name to ask for; none when absent. It is a wish: the server names the certificate. */
  readonly commonName?: string | undefined;
}

/**
 * Make a PKCS#10 request (RFC 2986) in DER, signed by the key pair's own key. It asks for a common name at most: usages and names come from the server.
 */
export function createCertificateRequest(keyPair: KeyPair, init: CertificateRequestInit = {}): Uint8Array {
  const { commonName } = init;
  const tbs = buildCertificateRequestInfo({
    subject: encodeName(commonName === undefined ? [] : [{ type: OID.commonName, value: commonName }]),
    spki: keyPair.spki,
    extensions: [],
  });
  const algorithm = encodeSignatureAlgorithm(keyPair.algorithm === "Ed25519" ? "ed25519" : "ecdsa-sha256");
  return assembleCertificateRequest(tbs, algorithm, keyPair.sign(tbs));
}

/**
 * Check that a request made elsewhere is for this key pair. Its signature is left to the server to check.
 * @throws {RksError} CSR_INVALID.
 */
export function assertRequestFor(csr: Uint8Array, keyPair: KeyPair): void {
  const { spki } = parseCertificateRequest(csr);
  if (Buffer.compare(spki, keyPair.spki) !== 0) {
    throw new RksError("CSR_INVALID", "the certificate request is for another key than the key pair's", {
      suggestion: "Pass the key pair that signed the request.",
    });
  }
}
