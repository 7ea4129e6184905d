import { hex } from "@rk8s/protocol";
import { type DerReader, TAG } from "./der-reader.js";
import {
  encodeContextConstructed,
  encodeNull,
  encodeOid,
  encodeSequence,
  encodeSmallInteger,
} from "./der-writer.js";
import { OID } from "./oids.js";

/** Signature algorithms that need nothing but a key and, but for Ed25519, a hash. */
export type SignatureAlgorithm =
  "ecdsa-sha256" | "ecdsa-sha384" | "ecdsa-sha512" | "ed25519" | "rsa-sha256" | "rsa-sha384" | "rsa-sha512";

/**
 * RSASSA-PSS with MGF1 of the same hash and a salt as long as the hash (RFC 4055 §3). A type of its own: who signs or
 * verifies has to ask for this padding, and must not take it for PKCS#1 v1.5 with the same hash.
 */
export type RsaPssAlgorithm = "rsa-pss-sha256" | "rsa-pss-sha384" | "rsa-pss-sha512";

/** A signature's AlgorithmIdentifier (RFC 5280 §4.1.1.2). */
export interface SignatureAlgorithmIdentifier {
  readonly oid: string;
  /** Undefined for RSASSA-PSS and when rk8s does not know the algorithm; a signature of the latter can be carried, not checked. */
  readonly name: SignatureAlgorithm | undefined;
  /** Set when it is RSASSA-PSS with parameters that rk8s knows. */
  readonly rsaPss: RsaPssAlgorithm | undefined;
  readonly der: Uint8Array;
}

const OIDS: Readonly<Record<SignatureAlgorithm, string>> = {
  "ecdsa-sha256": OID.ecdsaWithSha256,
  "ecdsa-sha384": OID.ecdsaWithSha384,
  "ecdsa-sha512": OID.ecdsaWithSha512,
  ed25519: OID.ed25519,
  "rsa-sha256": OID.sha256WithRsa,
  "rsa-sha384": OID.sha384WithRsa,
  "rsa-sha512": OID.sha512WithRsa,
};

const PSS_HASHES: Readonly<Record<RsaPssAlgorithm, { readonly oid: string; readonly bytes: number }>> = {
  "rsa-pss-sha256": { oid: OID.sha256, bytes: 32 },
  "rsa-pss-sha384": { oid: OID.sha384, bytes: 48 },
  "rsa-pss-sha512": { oid: OID.sha512, bytes: 64 },
};

const NAMES = new Map(Object.entries(OIDS).map(([name, oid]) => [oid, name as SignatureAlgorithm]));

const ENCODED = new Map([
  ...Object.entries(OIDS).map(
    ([name, oid]) =>
      [
        name,
        name.startsWith("rsa-")
          ? encodeSequence(encodeOid(oid), encodeNull())
          : encodeSequence(encodeOid(oid)),
      ] as const,
  ),
  ...Object.entries(PSS_HASHES).map(
    ([name, { oid, bytes }]) => [name, encodePss(oid, bytes, [encodeNull()])] as const,
  ),
]);

/** No known set of parameters is longer. */
const MAX_PSS_BYTES = 80;

/** The DER of each set of parameters as hexadecimal digits; hashes come with and without NULL (RFC 4055 §2.1). */
const PSS_NAMES = new Map(
  Object.entries(PSS_HASHES).flatMap(([name, { oid, bytes }]) =>
    [[encodeNull()], []].map(
      (parameters) => [hex(encodePss(oid, bytes, parameters)), name as RsaPssAlgorithm] as const,
    ),
  ),
);

/**
 * The DER of an algorithm's AlgorithmIdentifier: NULL parameters for RSA PKCS#1, hash, MGF1 and salt length for
 * RSASSA-PSS, none else (RFC 4055 §3.1, §5, RFC 5758 §3.2, RFC 8410 §3).
 */
export function encodeSignatureAlgorithm(name: SignatureAlgorithm | RsaPssAlgorithm): Uint8Array {
  const encoded = ENCODED.get(name);
  if (encoded === undefined) throw new TypeError(`"${name}" is not a signature algorithm`);
  return encoded;
}

/** Read an AlgorithmIdentifier. @throws {RksError} the reader's code when a known algorithm has parameters it must not have. */
export function readSignatureAlgorithm(reader: DerReader): SignatureAlgorithmIdentifier {
  const der = reader.element(TAG.SEQUENCE);
  const fields = reader.nested(der).sequence();
  const oid = fields.oid();
  const name = NAMES.get(oid);
  if (name?.startsWith("rsa-") === true && !fields.done) fields.null();
  else if (name === undefined && !fields.done) fields.element();
  fields.finish();
  const rsaPss = oid === OID.rsaPss && der.length <= MAX_PSS_BYTES ? PSS_NAMES.get(hex(der)) : undefined;
  return { oid, name, rsaPss, der };
}

function encodePss(hashOid: string, saltBytes: number, hashParameters: readonly Uint8Array[]): Uint8Array {
  const hash = encodeSequence(encodeOid(hashOid), ...hashParameters);
  const parameters = encodeSequence(
    encodeContextConstructed(0, hash),
    encodeContextConstructed(1, encodeSequence(encodeOid(OID.mgf1), hash)),
    encodeContextConstructed(2, encodeSmallInteger(saltBytes)),
  );
  return encodeSequence(encodeOid(OID.rsaPss), parameters);
}
