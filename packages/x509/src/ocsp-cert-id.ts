import { hex } from "@rk8s/protocol";
import { type DerReader, TAG } from "./der-reader.js";
import {
  encodeNull,
  encodeOctetString,
  encodeOid,
  encodeSequence,
  encodeUnsignedInteger,
} from "./der-writer.js";
import { OID } from "./oids.js";

/** Hashes that a CertID may name its issuer with. */
export type OcspHash = "sha1" | "sha256" | "sha384" | "sha512";

/** Which certificate somebody asks about (RFC 6960 §4.1.1). Byte fields share memory with the request. */
export interface OcspCertId {
  /** Undefined for a hash that rk8s does not know; the answer about it is `unknown`. */
  readonly hash: OcspHash | undefined;
  /** Hash of the issuer's DER Name. */
  readonly issuerNameHash: Uint8Array;
  /** Hash of the issuer's public key: `subjectPublicKeyBits` of its certificate. */
  readonly issuerKeyHash: Uint8Array;
  /** As `Certificate.serialNumber`: lower-case hexadecimal digits without the sign byte. */
  readonly serialNumber: string;
  /** The whole CertID; the answer repeats it byte for byte. */
  readonly der: Uint8Array;
}

/** What goes into a CertID. */
export interface OcspCertIdFields {
  readonly hash: OcspHash;
  readonly issuerNameHash: Uint8Array;
  readonly issuerKeyHash: Uint8Array;
  /** Unsigned, big-endian. */
  readonly serialNumber: Uint8Array;
}

/** Bytes of each hash by its name. */
const HASHES: Readonly<Record<OcspHash, { readonly oid: string; readonly bytes: number }>> = {
  sha1: { oid: OID.sha1, bytes: 20 },
  sha256: { oid: OID.sha256, bytes: 32 },
  sha384: { oid: OID.sha384, bytes: 48 },
  sha512: { oid: OID.sha512, bytes: 64 },
};
const NAMES: ReadonlyMap<string, OcspHash> = new Map(
  Object.entries(HASHES).map(([name, { oid }]) => [oid, name as OcspHash]),
);
const MAX_HASH_BYTES = 64;
/** A serial number has at most 20 bytes; asking about a longer one that some CA made is no mistake of grammar. */
const MAX_SERIAL_BYTES = 64;

/** Read a CertID. Hashes must be as long as their algorithm makes them. */
export function readOcspCertId(reader: DerReader): OcspCertId {
  const der = reader.element(TAG.SEQUENCE);
  const fields = reader.nested(der).sequence();
  const algorithm = fields.sequence();
  const hash = NAMES.get(algorithm.oid());
  if (!algorithm.done) algorithm.element();
  algorithm.finish();
  const issuerNameHash = fields.octetString();
  const issuerKeyHash = fields.octetString();
  const bytes = hash === undefined ? undefined : HASHES[hash].bytes;
  for (const value of [issuerNameHash, issuerKeyHash]) {
    if (value.length > MAX_HASH_BYTES || (bytes !== undefined && value.length !== bytes))
      fields.refuse(`a hash of the issuer has ${value.length} bytes`);
  }
  const serial = fields.integer();
  if (serial.length > MAX_SERIAL_BYTES) fields.refuse(`a serial number has ${serial.length} bytes`);
  if ((serial[0] ?? 0) >= 0x80) fields.refuse("a serial number is negative");
  fields.finish();
  const isPadded = serial[0] === 0 && serial.length > 1;
  const serialNumber = hex(isPadded ? serial.subarray(1) : serial);
  return { hash, issuerNameHash, issuerKeyHash, serialNumber, der };
}

/** Encode a CertID, the hash with NULL parameters as clients send it. */
export function encodeOcspCertId(fields: OcspCertIdFields): Uint8Array {
  return encodeSequence(
    encodeSequence(encodeOid(HASHES[fields.hash].oid), encodeNull()),
    encodeOctetString(fields.issuerNameHash),
    encodeOctetString(fields.issuerKeyHash),
    encodeUnsignedInteger(fields.serialNumber),
  );
}
