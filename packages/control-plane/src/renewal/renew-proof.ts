import { renewProofTranscript } from "@rk8s/protocol";
import type { CertificateRequest, PublicKeyInfo, SignatureAlgorithm } from "@rk8s/x509";
import { assertKeyStrength, isSignedBy } from "../pki/signing.js";

const EC_ALGORITHMS: Readonly<Record<"P-256" | "P-384" | "P-521", SignatureAlgorithm>> = {
  "P-256": "ecdsa-sha256",
  "P-384": "ecdsa-sha384",
  "P-521": "ecdsa-sha512",
};

/**
 * Whether the holder of the request's key made the proof for the connection of this Welcome (SPEC.md §8).
 * @throws {RksError} KEY_TOO_WEAK.
 */
export function isRenewProof(
  proof: Uint8Array,
  { csr, welcome }: { readonly csr: CertificateRequest; readonly welcome: Uint8Array },
): boolean {
  return isProofByRequestKey(proof, { csr, transcript: renewProofTranscript({ welcome, csr: csr.der }) });
}

/**
 * Whether the holder of the request's key signed the transcript: ECDSA with the curve's hash as DER, Ed25519 raw, or
 * RSASSA-PKCS1-v1_5 with SHA-256.
 * @throws {RksError} KEY_TOO_WEAK.
 */
export function isProofByRequestKey(
  proof: Uint8Array,
  { csr, transcript }: { readonly csr: CertificateRequest; readonly transcript: Uint8Array },
): boolean {
  assertKeyStrength(csr.publicKey);
  const signatureAlgorithm = { name: algorithmOf(csr.publicKey), rsaPss: undefined };
  return isSignedBy({ tbs: transcript, signature: proof, signatureAlgorithm }, csr.publicKey);
}

function algorithmOf(key: PublicKeyInfo): SignatureAlgorithm {
  if (key.algorithm === "ec") return EC_ALGORITHMS[key.curve];
  return key.algorithm === "ed25519" ? "ed25519" : "rsa-sha256";
}
