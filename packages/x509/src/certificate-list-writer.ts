import { fromHex } from "@rk8s/protocol";
import { TAG } from "./der-reader.js";
import {
  encodeBitString,
  encodeContextConstructed,
  encodeElementOf,
  encodeSequence,
  encodeSmallInteger,
  encodeUnsignedInteger,
} from "./der-writer.js";
import { encodeAuthorityKeyIdentifier, encodeExtension } from "./extension.js";
import { OID } from "./oids.js";
import { encodeTime } from "./time.js";

/** What goes into a TBSCertList. Names, algorithms, entries and further extensions come encoded. */
export interface TbsCertListFields {
  readonly signatureAlgorithm: Uint8Array;
  /** DER Name of the issuer, its certificate's subject byte for byte. */
  readonly issuer: Uint8Array;
  /** Milliseconds since the epoch; parts of a second are cut off. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Grows with every CRL of the issuer, complete ones and deltas alike; 0 or more (RFC 5280 §5.2.3). */
  readonly crlNumber: number | bigint;
  /** The issuer's subject key identifier. */
  readonly authorityKeyId?: Uint8Array | undefined;
  /** Makes it a delta CRL: the number of the complete CRL that it completes (RFC 5280 §5.2.4). */
  readonly baseCrlNumber?: number | bigint | undefined;
  /** Entries of `encodeRevokedCertificate`, concatenated: one array, or several of any number of entries each. */
  readonly entries: Uint8Array | readonly Uint8Array[];
  /** For example `encodeIssuingDistributionPoint` and `encodeFreshestCrl`. */
  readonly extensions?: readonly Uint8Array[] | undefined;
}

/** RFC 5280 §5.2.3. */
const MAX_NUMBER_BYTES = 20;
const VERSION_2 = encodeSmallInteger(1);

/**
 * Encode a TBSCertList of version 2 (RFC 5280 §5.1.2). The entries are copied, not looked at, so a list of 100,000 costs
 * little more than the copy; that each is whole and in the list once is for the caller.
 * @throws {TypeError} when a date or a number cannot be held.
 */
export function buildTbsCertList(fields: TbsCertListFields): Uint8Array {
  const entries = fields.entries instanceof Uint8Array ? [fields.entries] : fields.entries;
  const extensions: Uint8Array[] = [];
  if (fields.authorityKeyId !== undefined)
    extensions.push(encodeAuthorityKeyIdentifier(fields.authorityKeyId));
  extensions.push(
    encodeExtension({ oid: OID.crlNumber, critical: false, value: encodeNumber(fields.crlNumber) }),
  );
  if (fields.baseCrlNumber !== undefined) {
    const value = encodeNumber(fields.baseCrlNumber);
    extensions.push(encodeExtension({ oid: OID.deltaCrlIndicator, critical: true, value }));
  }
  extensions.push(...(fields.extensions ?? []));
  // Without any entry the list is left out, not empty (RFC 5280 §5.1.2.6).
  const isEmpty = entries.every((chunk) => chunk.length === 0);
  return encodeSequence(
    VERSION_2,
    fields.signatureAlgorithm,
    fields.issuer,
    encodeTime(fields.thisUpdate),
    encodeTime(fields.nextUpdate),
    ...(isEmpty ? [] : [encodeElementOf(TAG.SEQUENCE, entries)]),
    encodeContextConstructed(0, encodeSequence(...extensions)),
  );
}

/** Put TBSCertList, AlgorithmIdentifier (the one in the TBS) and signature together. */
export function assembleCrl(
  tbs: Uint8Array,
  signatureAlgorithm: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  return encodeSequence(tbs, signatureAlgorithm, encodeBitString(signature));
}

function encodeNumber(value: number | bigint): Uint8Array {
  const isNumber = typeof value === "bigint" || Number.isSafeInteger(value);
  const digits = value.toString(16);
  const bytes = fromHex(digits.length % 2 === 0 ? digits : `0${digits}`);
  const encoded = bytes === undefined ? undefined : encodeUnsignedInteger(bytes);
  if (!isNumber || encoded === undefined || encoded.length > 2 + MAX_NUMBER_BYTES)
    throw new TypeError(`${value} is not a CRL number`);
  return encoded;
}
