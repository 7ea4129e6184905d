import { contextConstructed, contextPrimitive, type DerReader } from "./der-reader.js";
import { asciiBytes, encodeContextPrimitive } from "./der-writer.js";

/** Tags of the kinds of a GeneralName (RFC 5280 §4.2.1.6). */
export const GENERAL_NAME = {
  OTHER: contextConstructed(0),
  EMAIL: contextPrimitive(1),
  DNS: contextPrimitive(2),
  X400: contextConstructed(3),
  DIRECTORY: contextConstructed(4),
  EDI_PARTY: contextConstructed(5),
  URI: contextPrimitive(6),
  IP: contextPrimitive(7),
  REGISTERED_ID: contextPrimitive(8),
} as const;

/** More GeneralNames in one place than anybody uses. */
const MAX_NAMES = 100;

/** Read a GeneralName that is an IA5String: printable ASCII, no control characters. */
export function readGeneralNameText(reader: DerReader, tag: number): string {
  const bytes = reader.content(tag);
  let text = "";
  for (const byte of bytes) {
    if (byte < 0x20 || byte > 0x7e)
      reader.refuse(`an alternative name has the byte 0x${byte.toString(16).padStart(2, "0")}`);
    text += String.fromCharCode(byte);
  }
  return text;
}

/** The URIs of a list of GeneralNames, to its end; names of other kinds are stepped over. */
export function readUris(names: DerReader): string[] {
  const uris: string[] = [];
  for (let count = 1; !names.done; count++) {
    if (count > MAX_NAMES) names.refuse(`a list has more than ${MAX_NAMES} names`);
    if (names.nextTag === GENERAL_NAME.URI) uris.push(readGeneralNameText(names, GENERAL_NAME.URI));
    else names.element();
  }
  return uris;
}

/** A GeneralName of kind URI. @throws {TypeError} when the text is empty or not ASCII. */
export function encodeUri(uri: string): Uint8Array {
  if (uri === "") throw new TypeError("a URI is empty");
  return encodeContextPrimitive(6, asciiBytes(uri));
}
