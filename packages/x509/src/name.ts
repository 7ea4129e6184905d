import { type DerReader, TAG } from "./der-reader.js";
import {
  encodeIa5String,
  encodeOid,
  encodePrintableString,
  encodeSequence,
  encodeSetOf,
  encodeUtf8String,
} from "./der-writer.js";
import { OID } from "./oids.js";

/** One attribute of a distinguished name. */
export interface NameAttribute {
  /** Object identifier in dotted form. */
  readonly type: string;
  readonly value: string;
}

/** A distinguished name as read (RFC 5280 §4.1.2.4). */
export interface Name {
  /** As it was encoded; two names are the same when these bytes are (an issuer is copied, not rebuilt). */
  readonly der: Uint8Array;
  /** One list a relative distinguished name; nearly always of one attribute. */
  readonly rdns: readonly (readonly NameAttribute[])[];
}

/** Short names by RFC 4514 §3 and common use. */
const SHORT_NAMES: ReadonlyMap<string, string> = new Map([
  [OID.commonName, "CN"],
  [OID.surname, "SN"],
  [OID.serialNumber, "serialNumber"],
  [OID.countryName, "C"],
  [OID.localityName, "L"],
  [OID.stateOrProvinceName, "ST"],
  [OID.streetAddress, "STREET"],
  [OID.organizationName, "O"],
  [OID.organizationalUnitName, "OU"],
  [OID.postalCode, "postalCode"],
  [OID.domainComponent, "DC"],
  [OID.userId, "UID"],
  [OID.emailAddress, "emailAddress"],
]);

/** Attributes that RFC 5280 §A.1 wants as IA5String. */
const IA5_ATTRIBUTES: ReadonlySet<string> = new Set([OID.emailAddress, OID.domainComponent]);
/** Attributes that RFC 5280 §A.1 and X.520 want as PrintableString. */
const PRINTABLE_ATTRIBUTES: ReadonlySet<string> = new Set([OID.countryName, OID.serialNumber]);
const ASCII = /^[ -~]*$/;
const PRINTABLE = /^[A-Za-z0-9 '()+,\-./:=?]*$/;
const MAX_ATTRIBUTES = 64;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Read an RDNSequence. UTF8String, PrintableString, IA5String and BMPString values are understood. */
export function readName(reader: DerReader): Name {
  const der = reader.element(TAG.SEQUENCE);
  const sequence = reader.nested(der).sequence();
  const rdns: NameAttribute[][] = [];
  let count = 0;
  while (!sequence.done) {
    const set = sequence.enter(TAG.SET);
    const rdn: NameAttribute[] = [];
    while (!set.done) {
      if (++count > MAX_ATTRIBUTES) set.refuse(`a name has more than ${MAX_ATTRIBUTES} attributes`);
      rdn.push(readAttribute(set.sequence()));
    }
    if (rdn.length === 0) set.refuse("a relative distinguished name is empty");
    rdns.push(rdn);
  }
  return { der, rdns };
}

/** Encode a distinguished name of one attribute a relative distinguished name, in the order given. */
export function encodeName(attributes: readonly NameAttribute[]): Uint8Array {
  return encodeRdnSequence(attributes.map((attribute) => [attribute]));
}

/** Encode a distinguished name, several attributes in one relative distinguished name included. */
export function encodeRdnSequence(rdns: readonly (readonly NameAttribute[])[]): Uint8Array {
  return encodeSequence(...rdns.map((rdn) => encodeSetOf(rdn.map(encodeAttribute))));
}

/** All values of one attribute type, in order. */
export function nameValues(name: Name, type: string): string[] {
  return name.rdns.flatMap((rdn) =>
    rdn.filter((attribute) => attribute.type === type).map(({ value }) => value),
  );
}

/** The name for people, in RFC 4514's form but in the order of encoding: `O=rk8s,CN=worker-1`. */
export function formatName(name: Name): string {
  return name.rdns
    .map((rdn) =>
      rdn.map(({ type, value }) => `${SHORT_NAMES.get(type) ?? type}=${escapeValue(value)}`).join("+"),
    )
    .join(",");
}

function readAttribute(reader: DerReader): NameAttribute {
  const type = reader.oid();
  const tag = reader.nextTag;
  if (tag === undefined) reader.refuse("a name's attribute has no value");
  const value = decodeString(reader, tag);
  reader.finish();
  return { type, value };
}

function decodeString(reader: DerReader, tag: number): string {
  const bytes = reader.content(tag);
  switch (tag) {
    case TAG.UTF8_STRING:
      try {
        return utf8.decode(bytes);
      } catch {
        return reader.refuse("a UTF8String is not UTF-8");
      }
    case TAG.PRINTABLE_STRING:
    case TAG.IA5_STRING: {
      if (bytes.some((byte) => byte >= 0x80)) reader.refuse("a name has a byte above 7F in an ASCII string");
      return utf8.decode(bytes);
    }
    case TAG.BMP_STRING: {
      if (bytes.length % 2 !== 0) reader.refuse("a BMPString has an odd number of bytes");
      let text = "";
      for (let i = 0; i < bytes.length; i += 2)
        text += String.fromCharCode(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
      return text;
    }
    default:
      return reader.refuse(`a name's value has the unsupported type 0x${tag.toString(16)}`);
  }
}

function encodeAttribute(attribute: NameAttribute): Uint8Array {
  const { type, value } = attribute;
  return encodeSequence(encodeOid(type), encodeValue(type, value));
}

function encodeValue(type: string, value: string): Uint8Array {
  if (PRINTABLE_ATTRIBUTES.has(type) && PRINTABLE.test(value)) return encodePrintableString(value);
  if (IA5_ATTRIBUTES.has(type) && ASCII.test(value)) return encodeIa5String(value);
  return encodeUtf8String(value);
}

function escapeValue(value: string): string {
  return value
    .replaceAll(/[\\",+;<>]/g, String.raw`\$&`)
    .replaceAll(/[^ -~\u{a0}-\u{10ffff}]/gu, (c) => `\\${c.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replace(/^[ #]/, String.raw`\$&`);
}
