import { createPrivateKey, sign, type KeyObject } from "node:crypto";
import { renewProofTranscript } from "@rk8s/protocol";
import type { KeyPair } from "./key-pair.js";

/**
 * Prove possession of a new key on exactly this connection: the key's signature over the renew transcript, ECDSA with
 * SHA-256 in DER or raw Ed25519 (SPEC.md §8).
 */
export function signRenewProof(
  keyPair: KeyPair,
  fields: { readonly welcome: Uint8Array; readonly csr: Uint8Array },
): Uint8Array {
  const hash = keyPair.algorithm === "Ed25519" ? null : "sha256";
  return sign(hash, renewProofTranscript(fields), privateKeyOf(keyPair));
}

function privateKeyOf(keyPair: KeyPair): KeyObject {
  const pkcs8 = keyPair.exportPrivateKey();
  try {
    return createPrivateKey({
      key: Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length),
      format: "der",
      type: "pkcs8",
    });
  } finally {
    pkcs8.fill(0);
  }
}
