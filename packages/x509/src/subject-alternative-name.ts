import { contextPrimitive, contextConstructed, type DerReader } from "./der-reader.js";
import { encodeContextPrimitive, encodeSequence } from "./der-writer.js";
import { formatIpAddress, parseIpAddress } from "./ip-address.js";

/** A subjectAltName (RFC 5280 §4.2.1.6), by kind, each in order of appearance. */
export interface SubjectAlternativeName {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly uris: readonly string[];
  readonly emails: readonly string[];
  /** How many names of other kinds (otherName, directoryName, registeredID …) there are besides. */
  readonly otherNames: number;
}

/** What a certificate without the extension has. */
export const NO_ALTERNATIVE_NAMES: SubjectAlternativeName = {
  dnsNames: [],
  ipAddresses: [],
  uris: [],
  emails: [],
  otherNames: 0,
};

/** Cluster and public certificates have 1–100; far more only costs time. */
const MAX_NAMES = 1000;

const EMAIL = contextPrimitive(1);
const DNS = contextPrimitive(2);
const URI = contextPrimitive(6);
const IP = contextPrimitive(7);
const OTHER_KINDS: ReadonlySet<number> = new Set([
  contextConstructed(0),
  contextConstructed(3),
  contextConstructed(4),
  contextConstructed(5),
  contextPrimitive(8),
]);
const encoder = new TextEncoder();

/** Read GeneralNames. Text is checked to be ASCII without control characters, IP addresses to have 4 or 16 bytes. */
export function readSubjectAlternativeName(reader: DerReader): SubjectAlternativeName {
  const names = reader.sequence();
  reader.finish();
  const dnsNames: string[] = [];
  const ipAddresses: string[] = [];
  const uris: string[] = [];
  const emails: string[] = [];
  let otherNames = 0;
  if (names.done) names.refuse("its subjectAltName is empty");
  for (let count = 1; !names.done; count++) {
    if (count > MAX_NAMES) names.refuse(`it has more than ${MAX_NAMES} alternative names`);
    const tag = names.nextTag ?? 0;
    if (tag === DNS) dnsNames.push(readText(names, tag));
    else if (tag === URI) uris.push(readText(names, tag));
    else if (tag === EMAIL) emails.push(readText(names, tag));
    else if (tag === IP) ipAddresses.push(readIpAddress(names));
    else if (OTHER_KINDS.has(tag)) {
      names.element(tag);
      otherNames++;
    } else names.refuse(`its subjectAltName has a name of unknown kind 0x${tag.toString(16)}`);
  }
  return { dnsNames, ipAddresses, uris, emails, otherNames };
}

/**
 * Encode GeneralNames in the order DNS, email, IP, URI. The caller makes sure that texts are ASCII.
 * @throws {TypeError} for an IP address that is none, a text that is not ASCII, or no name at all.
 */
export function encodeSubjectAlternativeName(
  names: Partial<Omit<SubjectAlternativeName, "otherNames">>,
): Uint8Array {
  const parts = [
    ...(names.dnsNames ?? []).map((name) => encodeContextPrimitive(2, ascii(name))),
    ...(names.emails ?? []).map((email) => encodeContextPrimitive(1, ascii(email))),
    ...(names.ipAddresses ?? []).map((address) => encodeContextPrimitive(7, ipBytes(address))),
    ...(names.uris ?? []).map((uri) => encodeContextPrimitive(6, ascii(uri))),
  ];
  if (parts.length === 0) throw new TypeError("a subjectAltName needs at least one name");
  return encodeSequence(...parts);
}

function readText(reader: DerReader, tag: number): string {
  const bytes = reader.content(tag);
  let text = "";
  for (const byte of bytes) {
    if (byte < 0x20 || byte > 0x7e)
      reader.refuse(`an alternative name has the byte 0x${byte.toString(16).padStart(2, "0")}`);
    text += String.fromCharCode(byte);
  }
  return text;
}

function readIpAddress(reader: DerReader): string {
  const bytes = reader.content(IP);
  return formatIpAddress(bytes) ?? reader.refuse(`an IP address has ${bytes.length} bytes`);
}

function ipBytes(address: string): Uint8Array {
  const bytes = parseIpAddress(address);
  if (bytes === undefined) throw new TypeError(`"${address}" is not an IP address`);
  return bytes;
}

function ascii(text: string): Uint8Array {
  if (!/^[ -~]*$/.test(text)) throw new TypeError(`"${text}" has characters beyond ASCII`);
  return encoder.encode(text);
}
