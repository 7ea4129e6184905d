import { RksError } from "@rk8s/protocol";
import type { PublicKeyInfo } from "@rk8s/x509";
import type { SignatureOptions, SigningAlgorithm } from "../signing.js";

interface Named {
  readonly name: string;
  readonly algorithm: SigningAlgorithm;
  readonly key: "rsa" | "ec" | "ed25519";
  readonly options: SignatureOptions;
}

/** Names as Go's crypto/x509 has them, which Vault's clients send. */
const ALGORITHMS: readonly Named[] = [
  { name: "SHA256WithRSA", algorithm: "rsa-sha256", key: "rsa", options: { signatureBits: 256 } },
  { name: "SHA384WithRSA", algorithm: "rsa-sha384", key: "rsa", options: { signatureBits: 384 } },
  { name: "SHA512WithRSA", algorithm: "rsa-sha512", key: "rsa", options: { signatureBits: 512 } },
  pss(256),
  pss(384),
  pss(512),
  { name: "ECDSAWithSHA256", algorithm: "ecdsa-sha256", key: "ec", options: {} },
  { name: "ECDSAWithSHA384", algorithm: "ecdsa-sha384", key: "ec", options: {} },
  { name: "ECDSAWithSHA512", algorithm: "ecdsa-sha512", key: "ec", options: {} },
  { name: "Ed25519", algorithm: "ed25519", key: "ed25519", options: {} },
];

/**
 * The name of a signature algorithm as it is kept: letters' case does not matter.
 * @throws {RksError} INPUT_INVALID when it is none or another type of key's.
 */
export function revocationAlgorithm(text: string, key: PublicKeyInfo): string {
  const wanted = text.toLowerCase();
  const found = ALGORITHMS.find(({ name }) => name.toLowerCase() === wanted);
  const fitting = ALGORITHMS.filter((known) => known.key === key.algorithm).map(({ name }) => name);
  if (found?.key === key.algorithm) return found.name;
  throw new RksError(
    "INPUT_INVALID",
    `revocation_signature_algorithm ${JSON.stringify(text.slice(0, 40))} does not fit the issuer's key`,
    { suggestion: `Use one of ${fitting.join(", ")}, or leave it empty.` },
  );
}

/** The name of an algorithm. */
export function algorithmName(algorithm: SigningAlgorithm): string {
  return ALGORITHMS.find((known) => known.algorithm === algorithm)?.name ?? "";
}

/**
 * How an issuer's CRLs and OCSP answers are to be signed: pass it to `CertificateAuthority.signBytes`. An EC key has one
 * hash, whatever is set.
 */
export function revocationSigning(issuer: {
  readonly revocationSignatureAlgorithm: string;
}): SignatureOptions {
  return ALGORITHMS.find(({ name }) => name === issuer.revocationSignatureAlgorithm)?.options ?? {};
}

function pss(bits: 256 | 384 | 512): Named {
  return {
    name: `SHA${bits}WithRSAPSS`,
    algorithm: `rsa-pss-sha${bits}`,
    key: "rsa",
    options: { signatureBits: bits, usePss: true },
  };
}
