import { createPrivateKey, createPublicKey, type KeyObject, verify } from "node:crypto";

/** RFC 8410 §10.3: everything before the 32 bytes of the seed. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
/** RFC 8410 §4: as many bytes come before those of the public key. */
const SPKI_PREFIX_BYTES = 12;

/** The public key, 32 bytes, of an Ed25519 seed (RFC 8032 §5.1.5). */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  const spki = createPublicKey(importEd25519Seed(seed)).export({ format: "der", type: "spki" });
  return Uint8Array.from(spki.subarray(SPKI_PREFIX_BYTES));
}

/** The key to sign with, of an Ed25519 seed. */
export function importEd25519Seed(seed: Uint8Array): KeyObject {
  const pkcs8 = Buffer.concat([PKCS8_PREFIX, seed]);
  try {
    return createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  } finally {
    pkcs8.fill(0);
  }
}

/** The key to verify with, of its 32 bytes. By JWK, because OpenSSL 3.0 decodes SPKI slowly. */
export function importEd25519PublicKey(publicKey: Uint8Array): KeyObject {
  const x = Buffer.from(publicKey).toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
}

/** Whether the signature over the bytes is the key's. */
export function verifyEd25519(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  return verify(null, bytes, key, signature);
}
