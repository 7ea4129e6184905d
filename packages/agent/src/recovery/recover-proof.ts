import { createPrivateKey, sign } from "node:crypto";
import type { KeyPair } from "../identity/key-pair.js";

/** The new key's own signature over the transcript of a recovery by grant: ECDSA with SHA-256 in DER, or Ed25519. */
export function signAsNewKey(keyPair: KeyPair, transcript: Uint8Array): Uint8Array {
  const pkcs8 = keyPair.exportPrivateKey();
  try {
    const key = createPrivateKey({
      key: Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length),
      format: "der",
      type: "pkcs8",
    });
    return sign(keyPair.algorithm === "Ed25519" ? null : "sha256", transcript, key);
  } finally {
    pkcs8.fill(0);
  }
}
