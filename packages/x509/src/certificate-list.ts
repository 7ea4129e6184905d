import { equalBytes, fromHex, hex } from "@rk8s/protocol";
import { contextConstructed, DerReader, TAG } from "./der-reader.js";
import { encodeUnsignedInteger } from "./der-writer.js";
import { type IssuingDistributionPoint, readIssuingDistributionPoint } from "./distribution-points.js";
import { type Extension, readAuthorityKeyIdentifier, readExtensions } from "./extension.js";
import { type Name, readName } from "./name.js";
import { OID } from "./oids.js";
import { type RevokedCertificate, readRevokedCertificate } from "./revoked-certificate.js";
import { readSignatureAlgorithm, type SignatureAlgorithmIdentifier } from "./signature-algorithm.js";
import { readTime } from "./time.js";

/** A certificate revocation list as read (RFC 5280 §5.1). Byte fields share memory with the input. */
export interface CertificateList {
  readonly der: Uint8Array;
  /** The bytes that are signed. */
  readonly tbs: Uint8Array;
  readonly issuer: Name;
  /** Milliseconds since the epoch. */
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
  readonly crlNumber: bigint | undefined;
  /** Set in a delta CRL: the number of the complete CRL that it completes. */
  readonly baseCrlNumber: bigint | undefined;
  readonly authorityKeyId: Uint8Array | undefined;
  readonly issuingDistributionPoint: IssuingDistributionPoint | undefined;
  readonly extensions: readonly Extension[];
  /** Critical extensions that none of these fields speaks for; a list with one says nothing (RFC 5280 §5.2). */
  readonly unknownCriticalExtensions: readonly string[];
  /** The entries, concatenated and not looked into; see `revokedCertificates`. */
  readonly entries: Uint8Array;
  readonly signatureAlgorithm: SignatureAlgorithmIdentifier;
  readonly signature: Uint8Array;
}

/** 100,000 entries take 5 MB; this is about a million. */
export const MAX_CRL_BYTES = 67_108_864;
/** No list in use comes near; without a bound, tiny elements would make a search take seconds. */
const MAX_ENTRIES = 1_000_000;
/** RFC 5280 §5.2.3. */
const MAX_NUMBER_BYTES = 20;
const NOTHING = new Uint8Array();

/**
 * Parse one DER CRL. The entries are not looked into before `revokedCertificates`, `findRevoked` or `isRevoked` comes to
 * them. Nothing is verified: not the signature, not the dates, not the issuer.
 * @throws {RksError} CRL_INVALID when it is not strict DER, breaks RFC 5280's grammar or exceeds a bound.
 */
export function parseCrl(der: Uint8Array): CertificateList {
  const reader = DerReader.over(der, { code: "CRL_INVALID", maxBytes: MAX_CRL_BYTES });
  const outer = reader.sequence();
  reader.finish();
  const tbs = outer.element(TAG.SEQUENCE);
  const signatureAlgorithm = readSignatureAlgorithm(outer);
  const signature = outer.wholeBitString();
  outer.finish();

  const fields = outer.nested(tbs).sequence();
  const isVersion2 = fields.nextTag === TAG.INTEGER;
  if (isVersion2 && fields.smallInteger(1) !== 1) fields.refuse("its version is neither 1 nor 2");
  if (!equalBytes(fields.element(TAG.SEQUENCE), signatureAlgorithm.der))
    fields.refuse("its two signature algorithms differ");
  const issuer = readName(fields);
  const thisUpdate = readTime(fields);
  const hasNext = fields.nextTag === TAG.UTC_TIME || fields.nextTag === TAG.GENERALIZED_TIME;
  const nextUpdate = hasNext ? readTime(fields) : undefined;
  const entries = fields.nextTag === TAG.SEQUENCE ? fields.content(TAG.SEQUENCE) : NOTHING;
  const wrapped = fields.enterOptional(contextConstructed(0));
  if (wrapped !== undefined && !isVersion2) fields.refuse("it has extensions but is of version 1");
  const extensions = wrapped === undefined ? [] : readExtensions(wrapped);
  wrapped?.finish();
  fields.finish();
  const values = interpret(extensions, reader);
  return {
    der,
    tbs,
    issuer,
    thisUpdate,
    nextUpdate,
    ...values,
    extensions,
    entries,
    signatureAlgorithm,
    signature,
  };
}

/** The entries of a CRL, each read when it is asked for. @throws {RksError} CRL_INVALID at the first that breaks the grammar or has a critical extension, and behind a million. */
export function* revokedCertificates(crl: CertificateList): Generator<RevokedCertificate, void, undefined> {
  const reader = overEntries(crl);
  for (let count = 1; !reader.done; count++) {
    if (count > MAX_ENTRIES) reader.refuse(`it has more than ${MAX_ENTRIES} entries`);
    yield readRevokedCertificate(reader);
  }
}

/**
 * The entry of a serial number (lower-case hexadecimal digits, as `Certificate.serialNumber`), the first one if there are
 * several; undefined when there is none. Goes through the list from its beginning each time; who asks often builds a map.
 * @throws {RksError} CRL_INVALID as `revokedCertificates`; entries before it are looked at as far as their serial number.
 * @throws {TypeError} when the serial number is not in that form.
 */
export function findRevoked(crl: CertificateList, serialNumber: string): RevokedCertificate | undefined {
  const bytes = fromHex(serialNumber);
  if (bytes === undefined) throw new TypeError(`"${serialNumber}" is not a serial number`);
  const wanted = encodeUnsignedInteger(bytes);
  const reader = overEntries(crl);
  for (let count = 1; !reader.done; count++) {
    if (count > MAX_ENTRIES) reader.refuse(`it has more than ${MAX_ENTRIES} entries`);
    const entry = reader.element(TAG.SEQUENCE);
    const start = contentStart(entry);
    if (entry[start] !== TAG.INTEGER) reader.refuse("an entry does not begin with a serial number");
    if (startsWith(entry, wanted, start)) return readRevokedCertificate(reader.nested(entry));
  }
  return undefined;
}

/**
 * Whether a CRL lists a serial number as revoked. An entry `removeFromCRL` of a delta CRL is none.
 * Not checked: the list's signature, dates, issuer and scope (`unknownCriticalExtensions`, `issuingDistributionPoint`, `baseCrlNumber`).
 * @throws {RksError} CRL_INVALID as `findRevoked`.
 */
export function isRevoked(crl: CertificateList, serialNumber: string): boolean {
  const entry = findRevoked(crl, serialNumber);
  return entry !== undefined && entry.reason !== "removeFromCRL";
}

type ExtensionFields = Pick<
  CertificateList,
  "crlNumber" | "baseCrlNumber" | "authorityKeyId" | "issuingDistributionPoint" | "unknownCriticalExtensions"
>;

function interpret(extensions: readonly Extension[], reader: DerReader): ExtensionFields {
  let crlNumber: bigint | undefined;
  let baseCrlNumber: bigint | undefined;
  let authorityKeyId: Uint8Array | undefined;
  let issuingDistributionPoint: IssuingDistributionPoint | undefined;
  const unknownCriticalExtensions: string[] = [];
  for (const { oid, critical, value } of extensions) {
    const content = reader.nested(value);
    if (oid === OID.crlNumber) crlNumber = readNumber(content);
    else if (oid === OID.deltaCrlIndicator) baseCrlNumber = readNumber(content);
    else if (oid === OID.authorityKeyIdentifier) authorityKeyId = readAuthorityKeyIdentifier(content);
    else if (oid === OID.issuingDistributionPoint)
      issuingDistributionPoint = readIssuingDistributionPoint(content);
    else if (critical) unknownCriticalExtensions.push(oid);
  }
  return { crlNumber, baseCrlNumber, authorityKeyId, issuingDistributionPoint, unknownCriticalExtensions };
}

function readNumber(reader: DerReader): bigint {
  const bytes = reader.integer();
  reader.finish();
  if (bytes.length > MAX_NUMBER_BYTES || (bytes[0] ?? 0) >= 0x80)
    reader.refuse("a CRL number is negative or too long");
  return BigInt(`0x${hex(bytes)}`);
}

/** Where the contents of an element begin, whose length was checked. */
function contentStart(element: Uint8Array): number {
  const first = element[1] ?? 0;
  return first < 0x80 ? 2 : 2 + (first & 0x7f);
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array, at: number): boolean {
  for (let i = 0; i < prefix.length; i++) if (bytes[at + i] !== prefix[i]) return false;
  return true;
}

function overEntries(crl: CertificateList): DerReader {
  return DerReader.over(crl.entries, { code: "CRL_INVALID", maxBytes: MAX_CRL_BYTES });
}
