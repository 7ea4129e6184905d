import { equalBytes, hex } from "@rk8s/protocol";
import { contextConstructed, contextPrimitive, DerReader, TAG } from "./der-reader.js";
import {
  encodeBitString,
  encodeContextConstructed,
  encodeSequence,
  encodeSmallInteger,
  encodeUnsignedInteger,
} from "./der-writer.js";
import { type Extension, type KeyUsage, readExtensions } from "./extension.js";
import { interpretExtensions } from "./extension-values.js";
import { type Name, readName } from "./name.js";
import { type PublicKeyInfo, readPublicKey } from "./public-key.js";
import { readSignatureAlgorithm, type SignatureAlgorithmIdentifier } from "./signature-algorithm.js";
import type { SubjectAlternativeName } from "./subject-alternative-name.js";
import { encodeTime, readTime } from "./time.js";

/** A certificate as read (RFC 5280 §4.1). Byte fields share memory with the input. */
export interface Certificate extends SubjectAlternativeName {
  readonly der: Uint8Array;
  /** The bytes that are signed. */
  readonly tbs: Uint8Array;
  /** Lower-case hexadecimal digits without separators and without the sign byte. */
  readonly serialNumber: string;
  readonly issuer: Name;
  readonly subject: Name;
  /** Milliseconds since the epoch, both inclusive. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly publicKey: PublicKeyInfo;
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  /** Undefined when the extension is absent, which allows everything. */
  readonly keyUsage: readonly KeyUsage[] | undefined;
  /** Object identifiers; undefined when the extension is absent, which allows everything. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly subjectKeyId: Uint8Array | undefined;
  readonly authorityKeyId: Uint8Array | undefined;
  readonly extensions: readonly Extension[];
  /**
   * Critical extensions that none of these fields speaks for; who relies on the certificate without looking into them must
   * refuse it (RFC 5280 §4.2). Name constraints are here too: `parseNameConstraints` reads them, nothing here applies them.
   */
  readonly unknownCriticalExtensions: readonly string[];
  readonly signatureAlgorithm: SignatureAlgorithmIdentifier;
  readonly signature: Uint8Array;
}

/** What goes into a TBSCertificate. Names, keys, algorithms and extensions come encoded, so that a CA encodes what repeats once. */
export interface TbsCertificateFields {
  /** Unsigned, big-endian, at most 20 bytes with the sign byte (RFC 5280 §4.1.2.2). */
  readonly serialNumber: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

/** RFC 5280 §4.1.2.2. */
const MAX_SERIAL_BYTES = 20;
const VERSION_3 = encodeContextConstructed(0, encodeSmallInteger(2));

/**
 * Parse one DER certificate. Nothing is verified: not the signature, not the dates, not the issuer.
 * @throws {RksError} CERTIFICATE_INVALID when it is not strict DER, breaks RFC 5280's grammar or exceeds a bound.
 */
export function parseCertificate(der: Uint8Array): Certificate {
  const reader = DerReader.over(der, { code: "CERTIFICATE_INVALID" });
  const outer = reader.sequence();
  reader.finish();
  const tbs = outer.element(TAG.SEQUENCE);
  const signatureAlgorithm = readSignatureAlgorithm(outer);
  const signature = outer.wholeBitString();
  outer.finish();

  const fields = outer.nested(tbs).sequence();
  const version = readVersion(fields);
  const serialNumber = readSerialNumber(fields);
  if (!equalBytes(fields.element(TAG.SEQUENCE), signatureAlgorithm.der)) {
    fields.refuse("its two signature algorithms differ");
  }
  const issuer = readName(fields);
  const validity = fields.sequence();
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  validity.finish();
  const subject = readName(fields);
  const spki = fields.element(TAG.SEQUENCE);
  const publicKey = readPublicKey(fields.nested(spki));
  for (const uniqueId of [contextPrimitive(1), contextPrimitive(2)]) {
    if (fields.nextTag === uniqueId) fields.element();
  }
  const wrapped = fields.enterOptional(contextConstructed(3));
  if (wrapped !== undefined && version !== 3) fields.refuse(`it has extensions but is of version ${version}`);
  const extensions = wrapped === undefined ? [] : readExtensions(wrapped);
  wrapped?.finish();
  fields.finish();
  return {
    der,
    tbs,
    serialNumber,
    issuer,
    subject,
    notBefore,
    notAfter,
    spki,
    publicKey,
    ...interpretExtensions(extensions, reader),
    extensions,
    signatureAlgorithm,
    signature,
  };
}

/** Encode a TBSCertificate of version 3. @throws {TypeError} when the serial number is too long, not positive or a date cannot be held. */
export function buildTbsCertificate(fields: TbsCertificateFields): Uint8Array {
  const serial = encodeUnsignedInteger(fields.serialNumber);
  if (serial.length > 2 + MAX_SERIAL_BYTES || fields.serialNumber.every((byte) => byte === 0)) {
    throw new TypeError("a serial number is positive and has at most 20 bytes");
  }
  const parts = [
    VERSION_3,
    serial,
    fields.signatureAlgorithm,
    fields.issuer,
    encodeSequence(encodeTime(fields.notBefore), encodeTime(fields.notAfter)),
    fields.subject,
    fields.spki,
  ];
  if (fields.extensions.length > 0)
    parts.push(encodeContextConstructed(3, encodeSequence(...fields.extensions)));
  return encodeSequence(...parts);
}

/** Put TBSCertificate, AlgorithmIdentifier (the one in the TBS) and signature together. */
export function assembleCertificate(
  tbs: Uint8Array,
  signatureAlgorithm: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  return encodeSequence(tbs, signatureAlgorithm, encodeBitString(signature));
}

function readVersion(fields: DerReader): number {
  const wrapped = fields.enterOptional(contextConstructed(0));
  if (wrapped === undefined) return 1;
  const version = 1 + wrapped.smallInteger(2);
  wrapped.finish();
  return version;
}

function readSerialNumber(fields: DerReader): string {
  const bytes = fields.integer();
  if (bytes.length > MAX_SERIAL_BYTES) fields.refuse(`its serial number has ${bytes.length} bytes`);
  if ((bytes[0] ?? 0) >= 0x80) fields.refuse("its serial number is negative");
  return hex(bytes[0] === 0 && bytes.length > 1 ? bytes.subarray(1) : bytes);
}
