import { generateKeyPair, generateKeyPairSync, type KeyObject } from "node:crypto";
import { promisify } from "node:util";

/** A kind of key that the PKI makes. */
export type KeySpec =
  | { readonly type: "ec"; readonly bits: 256 | 384 | 521 }
  | { readonly type: "ed25519" }
  | { readonly type: "rsa"; readonly bits: number };

export interface KeyPair {
  readonly privateKey: KeyObject;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
}

const CURVES = { 256: "P-256", 384: "P-384", 521: "P-521" } as const;
const generateAsync = promisify(generateKeyPair);

/** Make an RSA key pair on another thread, in 0.2–2 s. */
export async function createRsaKeyPair(bits: number): Promise<KeyPair> {
  return exported(await generateAsync("rsa", { modulusLength: bits }));
}

/** Make an EC or Ed25519 key pair at once. */
export function createFastKeyPair(spec: Exclude<KeySpec, { readonly type: "rsa" }>): KeyPair {
  return exported(
    spec.type === "ec"
      ? generateKeyPairSync("ec", { namedCurve: CURVES[spec.bits] })
      : generateKeyPairSync("ed25519"),
  );
}

/** The private key as PKCS#8 DER in a buffer of its own, so that the caller can wipe it. */
export function exportPkcs8(key: KeyObject): Uint8Array {
  const der = key.export({ type: "pkcs8", format: "der" });
  const own = Uint8Array.from(der);
  der.fill(0);
  return own;
}

function exported(pair: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }): KeyPair {
  return { privateKey: pair.privateKey, spki: pair.publicKey.export({ type: "spki", format: "der" }) };
}
