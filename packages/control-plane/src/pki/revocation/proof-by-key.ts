import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { equalBytes, RksError } from "@rk8s/protocol";
import { type Certificate, parsePublicKey } from "@rk8s/x509";
import { assertKeyStrength } from "../signing.js";

/**
 * Check that a PEM private key is a certificate's own. The key is looked at and forgotten; no error says anything of it.
 * @throws {RksError} INPUT_INVALID when it cannot be read or is another one's; KEY_TOO_WEAK.
 */
export function assertPrivateKeyOf(pem: string, certificate: Pick<Certificate, "publicKey">): void {
  assertKeyStrength(certificate.publicKey);
  const spki = createPublicKey(readKey(pem)).export({ type: "spki", format: "der" });
  const key = parsePublicKey(spki, { code: "CERTIFICATE_INVALID" });
  if (!isSameKey(key, certificate.publicKey)) {
    throw refused("private_key does not belong to the certificate");
  }
}

type PublicKey = Certificate["publicKey"];

function isSameKey(a: PublicKey, b: PublicKey): boolean {
  if (a.algorithm === "ec" && b.algorithm === "ec") {
    return a.curve === b.curve && equalBytes(a.x, b.x) && equalBytes(a.y, b.y);
  }
  if (a.algorithm === "rsa" && b.algorithm === "rsa") {
    return equalBytes(a.modulus, b.modulus) && equalBytes(a.exponent, b.exponent);
  }
  return a.algorithm === "ed25519" && b.algorithm === "ed25519" && equalBytes(a.key, b.key);
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // OpenSSL's words may hold parts of what was given.
    throw refused("private_key is no PEM private key");
  }
}

function refused(problem: string): RksError {
  return new RksError("INPUT_INVALID", problem, {
    suggestion: "Give the key that issue answered with the certificate, in PEM, without a passphrase.",
  });
}
