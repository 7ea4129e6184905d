import { createPublicKey, verify } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { parsePublicKey } from "@rk8s/x509";
import { parseSshPublicKey } from "./ssh-public-key.js";
import { isSshSignature } from "./ssh-signature.js";

/** What a node can prove with after a reboot. */
export type RecoveryKeyKind = "tpm" | "ssh-host-key";

/** What SSH signatures of recovery are made for; no other use of a host key has this namespace. */
const SSH_NAMESPACE = "rk8s-recover";

/**
 * RFC 6979 §A.2.5: a key whose private half everybody knows. Never enrolled, only verified with, where a node has
 * no key.
 */
export const DUMMY_RECOVERY_KEY: { readonly kind: RecoveryKeyKind; readonly publicKey: Uint8Array } = {
  kind: "tpm",
  publicKey: Buffer.from(
    "3059301306072a8648ce3d020106082a8648ce3d03010703420004" +
      "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6" +
      "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    "hex",
  ),
};

/**
 * Check that bytes are a public key of this kind.
 * @throws {RksError} RECOVERY_REFUSED saying what is wrong.
 */
export function assertRecoveryKey(kind: RecoveryKeyKind, publicKey: Uint8Array): void {
  try {
    if (kind === "ssh-host-key") parseSshPublicKey(publicKey);
    else assertP256(publicKey);
  } catch (reason) {
    const { message } = RksError.from(reason);
    throw new RksError("RECOVERY_REFUSED", `this ${kind} cannot be enrolled: ${message}`, {
      suggestion: "Choose another way back with `rkl pod daemon --recovery`.",
    });
  }
}

/** Whether the proof over the transcript is by this key. Never throws: what is no proof is none. */
export function isRecoveryProof(
  { kind, publicKey }: { readonly kind: RecoveryKeyKind; readonly publicKey: Uint8Array },
  transcript: Uint8Array,
  proof: Uint8Array,
): boolean {
  if (kind === "ssh-host-key")
    return isSshSignature(proof, transcript, { publicKey, namespace: SSH_NAMESPACE });
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    return verify("sha256", transcript, key, proof);
  } catch {
    return false;
  }
}

function assertP256(spki: Uint8Array): void {
  const key = parsePublicKey(spki, { code: "CSR_INVALID" });
  if (key.algorithm !== "ec" || key.curve !== "P-256") {
    throw new RksError("INPUT_INVALID", "a TPM's key must be an EC key on P-256");
  }
  try {
    createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch {
    throw new RksError("INPUT_INVALID", "its point is not on the curve");
  }
}
