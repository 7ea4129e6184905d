import { createECDH, generateKeyPairSync } from "node:crypto";
import {
  encodeBitString,
  encodeContextConstructed,
  encodeOctetString,
  encodeOid,
  encodeSequence,
  encodeSmallInteger,
  OID,
} from "@rk8s/x509";
import type { KeyMaker } from "../key-maker.js";
import type { LeafKeySpec } from "../key-spec.js";

/** A fresh key for a leaf, in the form in which it is handed out. It exists nowhere else. */
export interface LeafKey {
  readonly type: LeafKeySpec["type"];
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** DER in a buffer of its own; the caller wipes it. */
  readonly privateKey: Uint8Array;
  /** What PEM says around it. */
  readonly label: "EC PRIVATE KEY" | "RSA PRIVATE KEY" | "PRIVATE KEY";
}

/** `pkcs8`, or the older form that each type has: SEC1 for EC, PKCS#1 for RSA; Ed25519 has only PKCS#8. */
export type KeyForm = "traditional" | "pkcs8";

const CURVES = {
  224: { name: "secp224r1", oid: encodeOid("1.3.132.0.33") },
  256: { name: "prime256v1", oid: encodeOid(OID.p256) },
  384: { name: "secp384r1", oid: encodeOid(OID.p384) },
  521: { name: "secp521r1", oid: encodeOid(OID.p521) },
} as const;
const EC_PUBLIC_KEY = encodeOid(OID.ecPublicKey);
const SEC1_VERSION = encodeSmallInteger(1);
const PKCS8_VERSION = encodeSmallInteger(0);

/**
 * Make a leaf's key: EC and Ed25519 at once, RSA on another thread.
 * @throws {RksError} BUSY when too many RSA keys wait to be made.
 */
export async function createLeafKey(spec: LeafKeySpec, form: KeyForm, keyMaker: KeyMaker): Promise<LeafKey> {
  if (spec.type === "ec") return createEcKey(spec.bits, form);
  if (spec.type === "ed25519") {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519", {
      publicKeyEncoding: { type: "spki", format: "der" },
      privateKeyEncoding: { type: "pkcs8", format: "der" },
    });
    return { type: "ed25519", spki: publicKey, privateKey, label: "PRIVATE KEY" };
  }
  const { privateKey, spki } = await keyMaker.create(spec);
  const pkcs8 = form === "pkcs8";
  return {
    type: "rsa",
    spki,
    privateKey: privateKey.export({ type: pkcs8 ? "pkcs8" : "pkcs1", format: "der" }),
    label: pkcs8 ? "PRIVATE KEY" : "RSA PRIVATE KEY",
  };
}

/**
 * Make an EC key and write its DER here (RFC 5915 §3, RFC 5958 §2, RFC 5480 §2): OpenSSL 3.0 makes one in 50 µs and takes
 * 300 µs to write it.
 */
function createEcKey(bits: keyof typeof CURVES, form: KeyForm): LeafKey {
  const { name, oid } = CURVES[bits];
  const pair = createECDH(name);
  const point = pair.generateKeys();
  const scalar = pair.getPrivateKey();
  // The scalar comes without its leading zeros.
  const padded = new Uint8Array(Math.ceil(bits / 8));
  padded.set(scalar, padded.length - scalar.length);
  scalar.fill(0);
  const algorithm = encodeSequence(EC_PUBLIC_KEY, oid);
  const publicBits = encodeBitString(point);
  const parts = [SEC1_VERSION, encodeOctetString(padded)];
  if (form === "traditional") parts.push(encodeContextConstructed(0, oid));
  const sec1 = encodeSequence(...parts, encodeContextConstructed(1, publicBits));
  padded.fill(0);
  parts[1]?.fill(0);
  const spki = encodeSequence(algorithm, publicBits);
  if (form === "traditional") return { type: "ec", spki, privateKey: sec1, label: "EC PRIVATE KEY" };
  const wrapped = encodeOctetString(sec1);
  const privateKey = encodeSequence(PKCS8_VERSION, algorithm, wrapped);
  sec1.fill(0);
  wrapped.fill(0);
  return { type: "ec", spki, privateKey, label: "PRIVATE KEY" };
}
