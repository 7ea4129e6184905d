import type { DerReader } from "./der-reader.js";
import { asciiBytes, encodeContextPrimitive, encodeSequence } from "./der-writer.js";
import { GENERAL_NAME, readGeneralNameText } from "./general-name.js";
import { formatIpAddress, parseIpAddress } from "./ip-address.js";
import { encodeOtherName, type OtherName, readOtherName } from "./other-name.js";

/** A subjectAltName (RFC 5280 §4.2.1.6), by kind, each in order of appearance. */
export interface SubjectAlternativeName {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly uris: readonly string[];
  readonly emails: readonly string[];
  /** Names of kind otherName whose value is a UTF8String; they count in `otherNames` too. */
  readonly utf8OtherNames: readonly OtherName[];
  /** How many names of other kinds (otherName, directoryName, registeredID …) there are besides the first four. */
  readonly otherNames: number;
}

/** What a certificate without the extension has. */
export const NO_ALTERNATIVE_NAMES: SubjectAlternativeName = {
  dnsNames: [],
  ipAddresses: [],
  uris: [],
  emails: [],
  utf8OtherNames: [],
  otherNames: 0,
};

/** Cluster and public certificates have 1–100; far more only costs time. */
const MAX_NAMES = 1000;

const { DNS, EMAIL, IP, OTHER, URI } = GENERAL_NAME;
const OTHER_KINDS: ReadonlySet<number> = new Set([
  GENERAL_NAME.X400,
  GENERAL_NAME.DIRECTORY,
  GENERAL_NAME.EDI_PARTY,
  GENERAL_NAME.REGISTERED_ID,
]);

/** Read GeneralNames. Text is checked to be ASCII without control characters, IP addresses to have 4 or 16 bytes. */
export function readSubjectAlternativeName(reader: DerReader): SubjectAlternativeName {
  const names = reader.sequence();
  reader.finish();
  const dnsNames: string[] = [];
  const ipAddresses: string[] = [];
  const uris: string[] = [];
  const emails: string[] = [];
  const utf8OtherNames: OtherName[] = [];
  let otherNames = 0;
  if (names.done) names.refuse("its subjectAltName is empty");
  for (let count = 1; !names.done; count++) {
    if (count > MAX_NAMES) names.refuse(`it has more than ${MAX_NAMES} alternative names`);
    const tag = names.nextTag ?? 0;
    if (tag === DNS) dnsNames.push(readGeneralNameText(names, tag));
    else if (tag === URI) uris.push(readGeneralNameText(names, tag));
    else if (tag === EMAIL) emails.push(readGeneralNameText(names, tag));
    else if (tag === IP) ipAddresses.push(readIpAddress(names));
    else if (tag === OTHER) {
      const name = readOtherName(names);
      if (name !== undefined) utf8OtherNames.push(name);
      otherNames++;
    } else if (OTHER_KINDS.has(tag)) {
      names.element(tag);
      otherNames++;
    } else names.refuse(`its subjectAltName has a name of unknown kind 0x${tag.toString(16)}`);
  }
  return { dnsNames, ipAddresses, uris, emails, utf8OtherNames, otherNames };
}

/**
 * Encode GeneralNames in the order DNS, email, IP, URI, otherName.
 * @throws {TypeError} for an IP address that is none, a text that is not ASCII, or no name at all.
 */
export function encodeSubjectAlternativeName(
  names: Partial<Omit<SubjectAlternativeName, "otherNames">>,
): Uint8Array {
  const parts = [
    ...(names.dnsNames ?? []).map((name) => encodeContextPrimitive(2, asciiBytes(name))),
    ...(names.emails ?? []).map((email) => encodeContextPrimitive(1, asciiBytes(email))),
    ...(names.ipAddresses ?? []).map((address) => encodeContextPrimitive(7, ipBytes(address))),
    ...(names.uris ?? []).map((uri) => encodeContextPrimitive(6, asciiBytes(uri))),
    ...(names.utf8OtherNames ?? []).map(encodeOtherName),
  ];
  if (parts.length === 0) throw new TypeError("a subjectAltName needs at least one name");
  return encodeSequence(...parts);
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
