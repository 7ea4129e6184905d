import { contextConstructed, contextPrimitive, type DerReader } from "./der-reader.js";
import {
  asciiBytes,
  encodeContextConstructed,
  encodeContextPrimitive,
  encodeSequence,
} from "./der-writer.js";
import { encodeExtension, type Extension, type ExtensionOptions, openExtension } from "./extension.js";
import { GENERAL_NAME, readGeneralNameText } from "./general-name.js";
import { formatIpRange, parseIpRange } from "./ip-range.js";
import { OID } from "./oids.js";

/** Names below a CA, by kind (RFC 5280 §4.2.1.10). */
export interface NameSubtrees {
  /** `example.com` is the domain and all below it. */
  readonly dnsDomains: readonly string[];
  /** A mailbox, a host or, with a dot in front, all hosts below a domain. */
  readonly emails: readonly string[];
  /** CIDR notation. */
  readonly ipRanges: readonly string[];
  /** A host or, with a dot in front, all hosts below a domain. */
  readonly uriDomains: readonly string[];
}

/** What names the certificates below a CA may have. */
export interface NameConstraints {
  readonly permitted: NameSubtrees;
  readonly excluded: NameSubtrees;
  /** How many subtrees of other kinds (directoryName, otherName …) there are. */
  readonly otherSubtrees: number;
}

/** What `encodeNameConstraints` takes; kinds that are left out constrain nothing. */
export interface NameConstraintFields {
  readonly permitted?: Partial<NameSubtrees>;
  readonly excluded?: Partial<NameSubtrees>;
}

const MAX_SUBTREES = 1000;
const { DNS, EMAIL, IP, URI } = GENERAL_NAME;

/**
 * NameConstraints, critical (RFC 5280 §4.2.1.10).
 * @throws {TypeError} without any subtree, for an IP range that is none, for text that is not ASCII.
 */
export function encodeNameConstraints(constraints: NameConstraintFields): Uint8Array {
  const permitted = subtrees(constraints.permitted ?? {});
  const excluded = subtrees(constraints.excluded ?? {});
  const parts: Uint8Array[] = [];
  if (permitted.length > 0) parts.push(encodeContextConstructed(0, ...permitted));
  if (excluded.length > 0) parts.push(encodeContextConstructed(1, ...excluded));
  if (parts.length === 0) throw new TypeError("name constraints need at least one subtree");
  return encodeExtension({ oid: OID.nameConstraints, critical: true, value: encodeSequence(...parts) });
}

/**
 * Read NameConstraints from a list of extensions; undefined when it is not there. Nothing is applied to any name.
 * @throws {RksError} CERTIFICATE_INVALID, or the given code, when the extension breaks the grammar, has a minimum or a
 * maximum (which RFC 5280 forbids) or an IP range whose mask is no prefix.
 */
export function parseNameConstraints(
  extensions: readonly Extension[],
  options: ExtensionOptions = {},
): NameConstraints | undefined {
  const reader = openExtension(extensions, OID.nameConstraints, options);
  if (reader === undefined) return undefined;
  const fields = reader.sequence();
  reader.finish();
  const permitted = readSubtrees(fields, 0);
  const excluded = readSubtrees(fields, 1);
  fields.finish();
  return {
    permitted: permitted.names,
    excluded: excluded.names,
    otherSubtrees: permitted.others + excluded.others,
  };
}

function subtrees(names: Partial<NameSubtrees>): Uint8Array[] {
  return [
    ...(names.dnsDomains ?? []).map((name) => encodeContextPrimitive(2, asciiBytes(name))),
    ...(names.emails ?? []).map((email) => encodeContextPrimitive(1, asciiBytes(email))),
    ...(names.ipRanges ?? []).map((range) => encodeContextPrimitive(7, rangeBytes(range))),
    ...(names.uriDomains ?? []).map((name) => encodeContextPrimitive(6, asciiBytes(name))),
  ].map((base) => encodeSequence(base));
}

function readSubtrees(
  fields: DerReader,
  number: 0 | 1,
): { readonly names: NameSubtrees; readonly others: number } {
  const names: Record<keyof NameSubtrees, string[]> = {
    dnsDomains: [],
    emails: [],
    ipRanges: [],
    uriDomains: [],
  };
  let others = 0;
  const list = fields.enterOptional(contextConstructed(number));
  if (list === undefined) return { names, others };
  if (list.done) list.refuse("its name constraints have an empty list");
  for (let count = 1; !list.done; count++) {
    if (count > MAX_SUBTREES) list.refuse(`it has more than ${MAX_SUBTREES} name constraints`);
    const subtree = list.sequence();
    const tag = subtree.nextTag ?? 0;
    if (tag === DNS) names.dnsDomains.push(readGeneralNameText(subtree, tag));
    else if (tag === EMAIL) names.emails.push(readGeneralNameText(subtree, tag));
    else if (tag === URI) names.uriDomains.push(readGeneralNameText(subtree, tag));
    else if (tag === IP) names.ipRanges.push(readRange(subtree));
    else {
      subtree.element();
      others++;
    }
    if (subtree.nextTag === contextPrimitive(0)) readZeroMinimum(subtree);
    subtree.finish();
  }
  return { names, others };
}

/** A minimum of 0 is the DEFAULT, which some issuers write out. */
function readZeroMinimum(subtree: DerReader): void {
  const minimum = subtree.integer(contextPrimitive(0));
  if (minimum.length !== 1 || minimum[0] !== 0) subtree.refuse("a name constraint has a minimum");
}

function readRange(reader: DerReader): string {
  const bytes = reader.content(IP);
  return formatIpRange(bytes) ?? reader.refuse("a name constraint has an IP range that is none");
}

function rangeBytes(range: string): Uint8Array {
  const bytes = parseIpRange(range);
  if (bytes === undefined) throw new TypeError(`"${range}" is not an IP range`);
  return bytes;
}
