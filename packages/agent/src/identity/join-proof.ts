import { createPrivateKey, createPublicKey, sign, type KeyObject } from "node:crypto";
import { joinProofTranscript, type JoinProofFields, type JoinToken } from "@rk8s/protocol";

/** PrivateKeyInfo around an Ed25519 seed (RFC 8410 §7), up to the seed. */
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

/**
 * Prove possession of a join token for exactly this connection, key, name and role: an Ed25519 signature over the
 * join transcript. The token's secret does not leave this function.
 */
export function signJoinProof(token: JoinToken, fields: Omit<JoinProofFields, "tokenId">): Uint8Array {
  const transcript = joinProofTranscript({ ...fields, tokenId: token.id });
  return sign(null, transcript, tokenKey(token));
}

/** The public half of a join token, as the control plane keeps it: SubjectPublicKeyInfo (DER). */
export function joinTokenSpki(token: JoinToken): Uint8Array {
  return createPublicKey(tokenKey(token)).export({ format: "der", type: "spki" });
}

function tokenKey(token: JoinToken): KeyObject {
  const der = Buffer.alloc(PKCS8_ED25519.length + 32);
  PKCS8_ED25519.copy(der);
  der.set(token.seed.reveal(), PKCS8_ED25519.length);
  try {
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } finally {
    der.fill(0);
  }
}
