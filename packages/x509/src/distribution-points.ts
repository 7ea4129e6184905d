import { contextConstructed, contextPrimitive, type DerReader, TAG } from "./der-reader.js";
import { encodeContextConstructed, encodeSequence } from "./der-writer.js";
import { encodeExtension, type Extension, type ExtensionOptions, openExtension } from "./extension.js";
import { encodeUri, readUris } from "./general-name.js";
import { OID } from "./oids.js";

/** What a CRL says about its own scope (RFC 5280 §5.2.5). */
export interface IssuingDistributionPoint {
  readonly uris: readonly string[];
  /** Whether the CRL leaves out certificates: only of users, of CAs, of attributes or for some reasons. */
  readonly partial: boolean;
  /** Whether entries may be of another issuer. */
  readonly indirect: boolean;
}

const MAX_POINTS = 100;
const FULL_NAME = contextConstructed(0);
const POINT_NAME = contextConstructed(0);
/** onlyContainsUserCerts, onlyContainsCACerts, onlySomeReasons, indirectCRL, onlyContainsAttributeCerts. */
const SCOPE_FLAGS = [1, 2, 3, 4, 5].map(contextPrimitive);
const [, , ONLY_SOME_REASONS, INDIRECT_CRL] = SCOPE_FLAGS;

/** CRLDistributionPoints, not critical, one point a URI (RFC 5280 §4.2.1.13). @throws {TypeError} without any URI, or when one is empty or not ASCII. */
export function encodeCrlDistributionPoints(uris: readonly string[]): Uint8Array {
  return encodeExtension({ oid: OID.crlDistributionPoints, critical: false, value: encodePoints(uris) });
}

/** FreshestCRL, not critical: where delta CRLs are, in a certificate or a complete CRL (RFC 5280 §4.2.1.15, §5.2.6). @throws {TypeError} as `encodeCrlDistributionPoints`. */
export function encodeFreshestCrl(uris: readonly string[]): Uint8Array {
  return encodeExtension({ oid: OID.freshestCrl, critical: false, value: encodePoints(uris) });
}

/** IssuingDistributionPoint of a CRL for all certificates of its issuer, critical (RFC 5280 §5.2.5). @throws {TypeError} as `encodeCrlDistributionPoints`. */
export function encodeIssuingDistributionPoint(uris: readonly string[]): Uint8Array {
  if (uris.length === 0) throw new TypeError("a distribution point needs at least one URI");
  return encodeExtension({
    oid: OID.issuingDistributionPoint,
    critical: true,
    value: encodeSequence(encodePointName(uris)),
  });
}

/**
 * The URIs of CRLDistributionPoints in a list of extensions; undefined when it is not there. Names of other kinds are
 * stepped over.
 * @throws {RksError} CERTIFICATE_INVALID, or the given code, when the extension breaks the grammar.
 */
export function parseCrlDistributionPoints(
  extensions: readonly Extension[],
  options: ExtensionOptions = {},
): string[] | undefined {
  return readPoints(openExtension(extensions, OID.crlDistributionPoints, options));
}

/** As `parseCrlDistributionPoints`, for FreshestCRL. */
export function parseFreshestCrl(
  extensions: readonly Extension[],
  options: ExtensionOptions = {},
): string[] | undefined {
  return readPoints(openExtension(extensions, OID.freshestCrl, options));
}

/** Read the value of an IssuingDistributionPoint. */
export function readIssuingDistributionPoint(reader: DerReader): IssuingDistributionPoint {
  const fields = reader.sequence();
  reader.finish();
  const uris = readPointName(fields);
  let partial = false;
  let indirect = false;
  for (const tag of SCOPE_FLAGS) {
    if (fields.nextTag !== tag) continue;
    const on = tag === ONLY_SOME_REASONS ? fields.content(tag).length > 0 : fields.boolean(tag);
    if (tag === INDIRECT_CRL) indirect = on;
    else partial ||= on;
  }
  fields.finish();
  return { uris, partial, indirect };
}

function encodePoints(uris: readonly string[]): Uint8Array {
  if (uris.length === 0) throw new TypeError("a distribution point needs at least one URI");
  return encodeSequence(...uris.map((uri) => encodeSequence(encodePointName([uri]))));
}

/** DistributionPointName is a CHOICE, so its `[0]` around it is explicit. */
function encodePointName(uris: readonly string[]): Uint8Array {
  return encodeContextConstructed(0, encodeContextConstructed(0, ...uris.map(encodeUri)));
}

function readPoints(reader: DerReader | undefined): string[] | undefined {
  if (reader === undefined) return undefined;
  const points = reader.sequence();
  reader.finish();
  const uris: string[] = [];
  for (let count = 1; !points.done; count++) {
    if (count > MAX_POINTS) points.refuse(`it has more than ${MAX_POINTS} distribution points`);
    const point = points.enter(TAG.SEQUENCE);
    uris.push(...readPointName(point));
    if (point.nextTag === contextPrimitive(1)) point.element();
    if (point.nextTag === contextConstructed(2)) point.element();
    point.finish();
  }
  return uris;
}

function readPointName(fields: DerReader): string[] {
  const choice = fields.enterOptional(POINT_NAME);
  if (choice === undefined) return [];
  const fullName = choice.enterOptional(FULL_NAME);
  if (fullName === undefined) choice.element(contextConstructed(1));
  choice.finish();
  return fullName === undefined ? [] : readUris(fullName);
}
