import { DerReader, type DerErrorCode, TAG } from "./der-reader.js";
import { OID } from "./oids.js";

export type NamedCurve = "P-256" | "P-384" | "P-521";

/**
 * A SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) by algorithm. Sizes are checked, mathematics is not: that a point lies on
 * its curve or a modulus is a product of primes is for whoever imports the key.
 */
export type PublicKeyInfo =
  | {
      readonly algorithm: "ec";
      readonly curve: NamedCurve;
      readonly bits: 256 | 384 | 521;
      readonly x: Uint8Array;
      readonly y: Uint8Array;
    }
  | { readonly algorithm: "ed25519"; readonly bits: 256; readonly key: Uint8Array }
  | {
      readonly algorithm: "rsa";
      readonly bits: number;
      /** Unsigned, without leading zeros. */
      readonly modulus: Uint8Array;
      readonly exponent: Uint8Array;
    }
  /** A key that rk8s does not use: another curve, DSA, X25519 … */
  | { readonly algorithm: "other"; readonly oid: string };

const CURVES: ReadonlyMap<string, { readonly curve: NamedCurve; readonly bits: 256 | 384 | 521 }> = new Map([
  [OID.p256, { curve: "P-256", bits: 256 }],
  [OID.p384, { curve: "P-384", bits: 384 }],
  [OID.p521, { curve: "P-521", bits: 521 }],
]);

/** Parse a DER SubjectPublicKeyInfo (RFC 5480, RFC 8410, RFC 3279 §2.3.1). @throws {RksError} the given code. */
export function parsePublicKey(spki: Uint8Array, options: { readonly code: DerErrorCode }): PublicKeyInfo {
  const reader = DerReader.over(spki, options);
  const key = readPublicKey(reader);
  reader.finish();
  return key;
}

/**
 * The bits of the public key in a DER SubjectPublicKeyInfo: what key identifiers (RFC 5280 §4.2.1.2) and OCSP's key hashes
 * are hashes of. @throws {RksError} the given code.
 */
export function subjectPublicKeyBits(spki: Uint8Array, options: { readonly code: DerErrorCode }): Uint8Array {
  const reader = DerReader.over(spki, options);
  const fields = reader.sequence();
  reader.finish();
  fields.element(TAG.SEQUENCE);
  const bits = fields.wholeBitString();
  fields.finish();
  return bits;
}

/** Read a SubjectPublicKeyInfo at the reader's position. */
export function readPublicKey(reader: DerReader): PublicKeyInfo {
  const fields = reader.sequence();
  const algorithm = fields.sequence();
  const key = fields.wholeBitString();
  fields.finish();
  const oid = algorithm.oid();
  switch (oid) {
    case OID.ecPublicKey:
      return readEcKey(algorithm, key);
    case OID.ed25519:
      algorithm.finish();
      if (key.length !== 32) algorithm.refuse(`an Ed25519 key has ${key.length} bytes instead of 32`);
      return { algorithm: "ed25519", bits: 256, key };
    case OID.rsaEncryption:
      algorithm.null();
      algorithm.finish();
      return readRsaKey(algorithm.nested(key));
    default:
      return { algorithm: "other", oid };
  }
}

function readEcKey(parameters: DerReader, point: Uint8Array): PublicKeyInfo {
  if (parameters.nextTag !== TAG.OID) parameters.refuse("an EC key does not name its curve");
  const oid = parameters.oid();
  parameters.finish();
  const known = CURVES.get(oid);
  if (known === undefined) return { algorithm: "other", oid };
  const size = Math.ceil(known.bits / 8);
  if (point.length !== 1 + 2 * size || point[0] !== 4) {
    parameters.refuse(`a ${known.curve} key is not an uncompressed point of ${1 + 2 * size} bytes`);
  }
  return { algorithm: "ec", ...known, x: point.subarray(1, 1 + size), y: point.subarray(1 + size) };
}

function readRsaKey(reader: DerReader): PublicKeyInfo {
  const fields = reader.sequence();
  reader.finish();
  const modulus = readPositive(fields);
  const exponent = readPositive(fields);
  fields.finish();
  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
  return { algorithm: "rsa", bits, modulus, exponent };
}

function readPositive(reader: DerReader): Uint8Array {
  const bytes = reader.integer();
  const [first = 0] = bytes;
  if (first >= 0x80 || (bytes.length === 1 && first === 0))
    reader.refuse("an RSA key has a number that is not positive");
  return first === 0 ? bytes.subarray(1) : bytes;
}
