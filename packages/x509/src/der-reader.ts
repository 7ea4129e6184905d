import { RksError } from "@rk8s/protocol";

/** The code that a reader's failures carry: what the bytes were supposed to be. */
export type DerErrorCode = "CERTIFICATE_INVALID" | "CSR_INVALID" | "CRL_INVALID" | "OCSP_INVALID";

/** How failures of each code call what cannot be read, and what they suggest. */
const FAILURES: Readonly<Record<DerErrorCode, { readonly subject: string; readonly suggestion: string }>> = {
  CERTIFICATE_INVALID: {
    subject: "certificate",
    suggestion: "Check that the certificate is complete and DER- or PEM-encoded.",
  },
  CSR_INVALID: {
    subject: "certificate request",
    suggestion: "Send a DER-encoded PKCS#10 certificate request.",
  },
  CRL_INVALID: {
    subject: "certificate revocation list",
    suggestion: "Check that the list is complete and DER- or PEM-encoded.",
  },
  OCSP_INVALID: { subject: "OCSP request", suggestion: "Send a DER-encoded OCSP request." },
};

/** Universal and context-specific tags (X.690 §8.1.2) that X.509 uses. */
export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  BMP_STRING: 0x1e,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** Certificates are 0.5–4 KB; what is far beyond is an attack or not a certificate. */
export const MAX_DER_BYTES = 65_536;
/** X.509 nests 8–9 deep. */
const MAX_DEPTH = 16;
/** No object identifier in use comes near. */
const MAX_OID_BYTES = 64;

export interface DerReaderOptions {
  readonly code: DerErrorCode;
  /** Default MAX_DER_BYTES. */
  readonly maxBytes?: number;
}

/**
 * Reads DER (X.690 §10) front to back. Strict: definite and minimal lengths, low tag numbers, minimal integers
 * and object identifiers, BOOLEAN 00 or FF, zero padding bits. Bounded in size and depth. Every failure is an
 * `RksError` with the code that the caller chose. Not checked: the order of SET OF elements and that a DEFAULT
 * value is left out, which issuers in the field get wrong. Slices share memory with the input.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #depth: number;
  readonly #code: DerErrorCode;
  #position: number;

  /** @throws {RksError} the given code when `bytes` are more than `maxBytes`. */
  static over(bytes: Uint8Array, options: DerReaderOptions): DerReader {
    const maxBytes = options.maxBytes ?? MAX_DER_BYTES;
    const reader = new DerReader(bytes, 0, bytes.length, 0, options.code);
    if (bytes.length > maxBytes)
      reader.refuse(`${bytes.length} bytes are more than the limit of ${maxBytes}`);
    return reader;
  }

  private constructor(bytes: Uint8Array, start: number, end: number, depth: number, code: DerErrorCode) {
    this.#bytes = bytes;
    this.#position = start;
    this.#end = end;
    this.#depth = depth;
    this.#code = code;
  }

  /** The code that failures of this reader carry. */
  get code(): DerErrorCode {
    return this.#code;
  }

  /** Whether nothing is left. */
  get done(): boolean {
    return this.#position >= this.#end;
  }

  /** The tag of the next element without reading it; undefined at the end. */
  get nextTag(): number | undefined {
    return this.done ? undefined : this.#bytes[this.#position];
  }

  /** Fail with the reader's code. `problem` names what was found. */
  refuse(problem: string): never {
    const { subject, suggestion } = FAILURES[this.#code];
    throw new RksError(this.#code, `${subject} cannot be read: ${problem}`, { suggestion });
  }

  /** Nothing may follow. */
  finish(): void {
    if (!this.done) this.refuse(`${this.#end - this.#position} bytes follow where the element should end`);
  }

  /** Contents of the next element, which must have this tag. */
  content(tag: number): Uint8Array {
    const start = this.#header(tag);
    return this.#bytes.subarray(start, this.#position);
  }

  /** The next element whole, tag and length included; its contents are not looked at. */
  element(tag?: number): Uint8Array {
    const start = this.#position;
    this.#header(tag);
    return this.#bytes.subarray(start, this.#position);
  }

  /** Step into the next element, a constructed one with this tag. */
  enter(tag: number): DerReader {
    if (this.#depth >= MAX_DEPTH) this.refuse(`nested deeper than ${MAX_DEPTH} levels`);
    const start = this.#header(tag);
    return new DerReader(this.#bytes, start, this.#position, this.#depth + 1, this.#code);
  }

  /** Step into an element if the next one has this tag. */
  enterOptional(tag: number): DerReader | undefined {
    return this.nextTag === tag ? this.enter(tag) : undefined;
  }

  sequence(): DerReader {
    return this.enter(TAG.SEQUENCE);
  }

  /** A reader over bytes that were wrapped in an OCTET STRING or BIT STRING of this one. */
  nested(bytes: Uint8Array): DerReader {
    if (this.#depth >= MAX_DEPTH) this.refuse(`nested deeper than ${MAX_DEPTH} levels`);
    return new DerReader(bytes, 0, bytes.length, this.#depth + 1, this.#code);
  }

  boolean(tag: number = TAG.BOOLEAN): boolean {
    const content = this.content(tag);
    if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
      this.refuse("a BOOLEAN is not 00 or FF");
    return content[0] === 0xff;
  }

  /** Two's complement, big-endian, minimal (X.690 §8.3). */
  integer(tag: number = TAG.INTEGER): Uint8Array {
    const content = this.content(tag);
    const [first, second] = content;
    if (first === undefined) this.refuse("an INTEGER is empty");
    if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))) {
      this.refuse("an INTEGER is longer than it needs to be");
    }
    return content;
  }

  /** A small non-negative INTEGER, or another type that is encoded like one. */
  smallInteger(max: number, tag: number = TAG.INTEGER): number {
    const content = this.integer(tag);
    let value = 0;
    for (const byte of content) value = value * 256 + byte;
    if ((content[0] ?? 0) >= 0x80 || content.length > 4 || value > max) {
      this.refuse(`an INTEGER is not between 0 and ${max}`);
    }
    return value;
  }

  octetString(): Uint8Array {
    return this.content(TAG.OCTET_STRING);
  }

  /** A BIT STRING with its padding bits, which must be zero (X.690 §11.2.1). */
  bitString(): { readonly bytes: Uint8Array; readonly unusedBits: number } {
    const content = this.content(TAG.BIT_STRING);
    const unusedBits = content[0] ?? 8;
    const last = content.at(-1) ?? 0;
    if (unusedBits > 7 || (content.length === 1 && unusedBits > 0))
      this.refuse("a BIT STRING has wrong padding");
    if (content.length > 1 && (last & ((1 << unusedBits) - 1)) !== 0)
      this.refuse("a BIT STRING has padding that is not zero");
    return { bytes: content.subarray(1), unusedBits };
  }

  /** A BIT STRING that holds whole bytes: a key or a signature. */
  wholeBitString(): Uint8Array {
    const { bytes, unusedBits } = this.bitString();
    if (unusedBits !== 0) this.refuse("a BIT STRING does not end at a byte");
    return bytes;
  }

  null(): void {
    if (this.content(TAG.NULL).length !== 0) this.refuse("a NULL is not empty");
  }

  /** An OBJECT IDENTIFIER in dotted form. */
  oid(tag: number = TAG.OID): string {
    const content = this.content(tag);
    if (content.length === 0 || content.length > MAX_OID_BYTES || (content.at(-1) ?? 0) >= 0x80) {
      this.refuse("an OBJECT IDENTIFIER is empty, cut off or too long");
    }
    let text = "";
    let arc = 0;
    let atStart = true;
    for (const byte of content) {
      if (atStart && byte === 0x80) this.refuse("an OBJECT IDENTIFIER is longer than it needs to be");
      if (arc > Number.MAX_SAFE_INTEGER / 128 - 1) this.refuse("an OBJECT IDENTIFIER has an arc beyond 2^53");
      arc = arc * 128 + (byte & 0x7f);
      atStart = byte < 0x80;
      if (!atStart) continue;
      if (text === "") {
        const root = Math.min(Math.floor(arc / 40), 2);
        text = `${root}.${arc - root * 40}`;
      } else {
        text += `.${arc}`;
      }
      arc = 0;
    }
    return text;
  }

  /** Read tag and length, move behind the element, return where its contents start. */
  #header(expected: number | undefined): number {
    const bytes = this.#bytes;
    const tag = bytes[this.#position];
    if (this.done || tag === undefined) this.refuse(`it ends where ${describe(expected)} should be`);
    if (expected !== undefined && tag !== expected) {
      this.refuse(`found ${describe(tag)} where ${describe(expected)} should be`);
    }
    if ((tag & 0x1f) === 0x1f) this.refuse("a tag number is above 30");
    const first = this.#position + 1 < this.#end ? bytes[this.#position + 1] : undefined;
    if (first === undefined) this.refuse("it ends inside a length");
    let start = this.#position + 2;
    let length = first;
    if (first >= 0x80) {
      const count = first & 0x7f;
      if (count === 0 || count > 4) this.refuse("a length is indefinite or above 4 bytes");
      if (start + count > this.#end) this.refuse("it ends inside a length");
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + i] ?? 0);
      if (length < 0x80 || length < 256 ** (count - 1)) this.refuse("a length is longer than it needs to be");
      start += count;
    }
    if (length > this.#end - start)
      this.refuse(`an element claims ${length} bytes, ${this.#end - start} are there`);
    this.#position = start + length;
    return start;
  }
}

/** Context-specific, primitive: `[n] IMPLICIT` of a primitive type. */
export function contextPrimitive(number: number): number {
  return 0x80 | number;
}

/** Context-specific, constructed: `[n] EXPLICIT`, or `[n] IMPLICIT` of a constructed type. */
export function contextConstructed(number: number): number {
  return 0xa0 | number;
}

function describe(tag: number | undefined): string {
  if (tag === undefined) return "an element";
  const name = Object.entries(TAG).find(([, value]) => value === tag)?.[0];
  return name === undefined ? `tag 0x${tag.toString(16).padStart(2, "0")}` : name.replace("_", " ");
}
