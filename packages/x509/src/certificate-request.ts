import { contextConstructed, DerReader, TAG } from "./der-reader.js";
import {
  encodeBitString,
  encodeContextConstructed,
  encodeOid,
  encodeSequence,
  encodeSetOf,
  encodeSmallInteger,
} from "./der-writer.js";
import { type Extension, readExtensions } from "./extension.js";
import { type ExtensionValues, interpretExtensions } from "./extension-values.js";
import { type Name, readName } from "./name.js";
import { OID } from "./oids.js";
import { type PublicKeyInfo, readPublicKey } from "./public-key.js";
import { readSignatureAlgorithm, type SignatureAlgorithmIdentifier } from "./signature-algorithm.js";

/** A PKCS#10 certification request as read (RFC 2986 §4). Byte fields share memory with the input. */
export interface CertificateRequest {
  readonly der: Uint8Array;
  /** The bytes that are signed: CertificationRequestInfo. */
  readonly tbs: Uint8Array;
  readonly subject: Name;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly publicKey: PublicKeyInfo;
  /** Every extension asked for (RFC 2985 §5.4.2); empty when none. */
  readonly requestedExtensions: readonly Extension[];
  /** What the known ones of them ask for. */
  readonly requested: ExtensionValues;
  readonly signatureAlgorithm: SignatureAlgorithmIdentifier;
  readonly signature: Uint8Array;
}

/** What goes into a CertificationRequestInfo. */
export interface CertificateRequestFields {
  /** DER Name; see `encodeName`. */
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  /** DER extensions to ask for. */
  readonly extensions: readonly Uint8Array[];
}

/** A request holds a key, a name and some names more: 1–2 KB; RSA-4096 with 100 names stays below. */
export const MAX_CSR_BYTES = 16_384;
const MAX_ATTRIBUTES = 16;
const VERSION_1 = encodeSmallInteger(0);

/**
 * Parse one DER PKCS#10 request. The signature (proof of possession) and the key's strength are *not* checked.
 * @throws {RksError} CSR_INVALID when it is not strict DER, breaks the grammar or exceeds a bound.
 */
export function parseCertificateRequest(der: Uint8Array): CertificateRequest {
  const reader = DerReader.over(der, { code: "CSR_INVALID", maxBytes: MAX_CSR_BYTES });
  const outer = reader.sequence();
  reader.finish();
  const tbs = outer.element(TAG.SEQUENCE);
  const signatureAlgorithm = readSignatureAlgorithm(outer);
  const signature = outer.wholeBitString();
  outer.finish();

  const fields = outer.nested(tbs).sequence();
  fields.smallInteger(0);
  const subject = readName(fields);
  const spki = fields.element(TAG.SEQUENCE);
  const publicKey = readPublicKey(fields.nested(spki));
  const attributes = fields.enterOptional(contextConstructed(0));
  fields.finish();
  const requestedExtensions = attributes === undefined ? [] : readRequestedExtensions(attributes);
  return {
    der,
    tbs,
    subject,
    spki,
    publicKey,
    requestedExtensions,
    requested: interpretExtensions(requestedExtensions, reader),
    signatureAlgorithm,
    signature,
  };
}

/** Encode a CertificationRequestInfo, the part of a request that its key signs. */
export function buildCertificateRequestInfo(fields: CertificateRequestFields): Uint8Array {
  const { extensions } = fields;
  const attribute = () =>
    encodeSequence(encodeOid(OID.extensionRequest), encodeSetOf([encodeSequence(...extensions)]));
  const attributes = encodeContextConstructed(0, ...(extensions.length === 0 ? [] : [attribute()]));
  return encodeSequence(VERSION_1, fields.subject, fields.spki, attributes);
}

/** Put CertificationRequestInfo, AlgorithmIdentifier and signature together. */
export function assembleCertificateRequest(
  tbs: Uint8Array,
  signatureAlgorithm: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  return encodeSequence(tbs, signatureAlgorithm, encodeBitString(signature));
}

function readRequestedExtensions(attributes: DerReader): Extension[] {
  let extensions: Extension[] | undefined;
  for (let count = 1; !attributes.done; count++) {
    if (count > MAX_ATTRIBUTES) attributes.refuse(`it has more than ${MAX_ATTRIBUTES} attributes`);
    const attribute = attributes.sequence();
    const oid = attribute.oid();
    const values = attribute.enter(TAG.SET);
    attribute.finish();
    if (oid !== OID.extensionRequest) continue;
    if (extensions !== undefined) attribute.refuse("it asks for extensions twice");
    extensions = readExtensions(values);
    values.finish();
  }
  return extensions ?? [];
}
