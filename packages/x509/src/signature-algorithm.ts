import { type DerReader, TAG } from "./der-reader.js";
import { encodeNull, encodeOid, encodeSequence } from "./der-writer.js";
import { OID } from "./oids.js";

/** Signature algorithms that rk8s makes and checks. */
export type SignatureAlgorithm =
  "ecdsa-sha256" | "ecdsa-sha384" | "ecdsa-sha512" | "ed25519" | "rsa-sha256" | "rsa-sha384" | "rsa-sha512";

/** A signature's AlgorithmIdentifier (RFC 5280 §4.1.1.2). */
export interface SignatureAlgorithmIdentifier {
  readonly oid: string;
  /** Undefined when rk8s does not know the algorithm; such a signature can be carried, not checked. */
  readonly name: SignatureAlgorithm | undefined;
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

const NAMES = new Map(Object.entries(OIDS).map(([name, oid]) => [oid, name as SignatureAlgorithm]));

const ENCODED = new Map(
  Object.entries(OIDS).map(([name, oid]) => [
    name,
    name.startsWith("rsa-") ? encodeSequence(encodeOid(oid), encodeNull()) : encodeSequence(encodeOid(oid)),
  ]),
);

/** The DER of an algorithm's AlgorithmIdentifier: NULL parameters for RSA, none else (RFC 4055 §5, RFC 5758 §3.2, RFC 8410 §3). */
export function encodeSignatureAlgorithm(name: SignatureAlgorithm): Uint8Array {
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
  return { oid, name, der };
}
