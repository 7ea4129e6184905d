import { contextConstructed, contextPrimitive, TAG } from "./der-reader.js";
import { OID } from "./oids.js";

const encoder = new TextEncoder();

/** One element: tag, minimal definite length, the parts one after another (X.690 §8.1, §10.1). */
export function encodeElement(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return encodeElementOf(tag, parts);
}

/** As `encodeElement`, for lists so long that they cannot be spread into arguments. */
export function encodeElementOf(tag: number, parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const lengthBytes =
    length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
  const out = new Uint8Array(2 + lengthBytes + length);
  out[0] = tag;
  let at = 2;
  if (lengthBytes === 0) {
    out[1] = length;
  } else {
    out[1] = 0x80 | lengthBytes;
    for (let shift = (lengthBytes - 1) * 8; shift >= 0; shift -= 8) out[at++] = (length >>> shift) & 0xff;
  }
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function encodeSequence(...parts: readonly Uint8Array[]): Uint8Array {
  return encodeElement(TAG.SEQUENCE, ...parts);
}

/** A SET OF; the elements are put into DER's order (X.690 §11.6). */
export function encodeSetOf(parts: readonly Uint8Array[]): Uint8Array {
  return encodeElement(TAG.SET, ...(parts.length < 2 ? parts : parts.toSorted(compareBytes)));
}

/** `[number] EXPLICIT`, or `[number] IMPLICIT` of a constructed type when given its contents. */
export function encodeContextConstructed(number: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return encodeElement(contextConstructed(number), ...parts);
}

/** `[number] IMPLICIT` of a primitive type. */
export function encodeContextPrimitive(number: number, content: Uint8Array): Uint8Array {
  return encodeElement(contextPrimitive(number), content);
}

/** An unsigned INTEGER from big-endian bytes; leading zeros are dropped or added as DER wants them. */
export function encodeUnsignedInteger(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = start === 0 ? bytes : bytes.subarray(start);
  const first = digits[0];
  if (first === undefined) return encodeElement(TAG.INTEGER, Uint8Array.of(0));
  return first >= 0x80
    ? encodeElement(TAG.INTEGER, Uint8Array.of(0), digits)
    : encodeElement(TAG.INTEGER, digits);
}

/** A small INTEGER, 0 to 2^31 - 1. */
export function encodeSmallInteger(value: number): Uint8Array {
  return encodeUnsignedInteger(
    Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff),
  );
}

export function encodeBoolean(value: boolean): Uint8Array {
  return Uint8Array.of(TAG.BOOLEAN, 1, value ? 0xff : 0);
}

export function encodeNull(): Uint8Array {
  return Uint8Array.of(TAG.NULL, 0);
}

export function encodeOctetString(bytes: Uint8Array): Uint8Array {
  return encodeElement(TAG.OCTET_STRING, bytes);
}

/** A BIT STRING of whole bytes, less `unusedBits` at the end, which must be zero. */
export function encodeBitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return encodeElement(TAG.BIT_STRING, Uint8Array.of(unusedBits), bytes);
}

export function encodeUtf8String(text: string): Uint8Array {
  return encodeElement(TAG.UTF8_STRING, encoder.encode(text));
}

/** The caller makes sure that `text` has PrintableString's characters only (X.680 §41.4). */
export function encodePrintableString(text: string): Uint8Array {
  return encodeElement(TAG.PRINTABLE_STRING, encoder.encode(text));
}

/** An IA5String. @throws {TypeError} when the text has characters beyond printable ASCII. */
export function encodeIa5String(text: string): Uint8Array {
  return encodeElement(TAG.IA5_STRING, asciiBytes(text));
}

/** The bytes of printable ASCII. @throws {TypeError} for any other character, control characters included. */
export function asciiBytes(text: string): Uint8Array {
  if (!/^[ -~]*$/.test(text)) throw new TypeError(`"${text}" has characters beyond ASCII`);
  return encoder.encode(text);
}

/** An ENUMERATED of 0 to 127. */
export function encodeEnumerated(value: number): Uint8Array {
  return Uint8Array.of(TAG.ENUMERATED, 1, value);
}

/** @throws {TypeError} when the text is not a dotted object identifier. */
export function encodeOid(dotted: string): Uint8Array {
  return KNOWN_OIDS.get(dotted)?.slice() ?? encodeArcs(dotted);
}

function encodeArcs(dotted: string): Uint8Array {
  const arcs = dotted.split(".").map(Number);
  const [root, second, ...rest] = arcs;
  const valid =
    arcs.every((arc) => Number.isSafeInteger(arc) && arc >= 0) && /^[0-2](\.(0|[1-9]\d*))+$/.test(dotted);
  if (!valid || root === undefined || second === undefined || (root < 2 && second > 39)) {
    throw new TypeError(`"${dotted}" is not an object identifier`);
  }
  const bytes: number[] = [];
  for (const arc of [root * 40 + second, ...rest]) {
    const digits = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift((left % 128) | 0x80);
    bytes.push(...digits);
  }
  return encodeElement(TAG.OID, Uint8Array.from(bytes));
}

/** Order of byte strings: first difference decides, a prefix comes first. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** What every certificate is made of is encoded once. */
const KNOWN_OIDS: ReadonlyMap<string, Uint8Array> = new Map(
  Object.values(OID).map((dotted) => [dotted, encodeArcs(dotted)]),
);
