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
  return keyPair.sign(renewProofTranscript(fields));
}
