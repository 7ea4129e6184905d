import { RksError } from "@rk8s/protocol";

/**
 * The wire format of Protocol Buffers, as much of it as etcd's API needs: integers as varints and length-delimited
 * bytes. Written here because a library would be loaded, compiled from a schema and kept up to date for a dozen messages.
 */

const VARINT = 0;
const FIXED_64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

/** Bytes of a varint that fits into 53 bits. */
const MAX_VARINT_BYTES = 8;

/** Collects the fields of one message; the bytes given to it are copied by `finish` and not before. */
export class MessageWriter {
  readonly #parts: Uint8Array[] = [];
  #byteLength = 0;

  get byteLength(): number {
    return this.#byteLength;
  }

  /** A number from 0 to 2^53 - 1, an enumeration's number, or 1 for true. It is written also when it is 0. */
  integer(field: number, value: number): this {
    this.#push(varints(tag(field, VARINT), value));
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#push(varints(tag(field, LENGTH_DELIMITED), value.byteLength));
    this.#push(value);
    return this;
  }

  message(field: number, value: MessageWriter): this {
    this.#push(varints(tag(field, LENGTH_DELIMITED), value.#byteLength));
    for (const part of value.#parts) this.#push(part);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts, this.#byteLength);
  }

  #push(part: Uint8Array): void {
    this.#parts.push(part);
    this.#byteLength += part.byteLength;
  }
}

/** Walks over the fields of one message. Fields that nobody asks for are passed over. */
export class MessageReader {
  readonly #bytes: Uint8Array;
  #position = 0;
  #wireType: number | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /**
   * Go to the next field and give its number; 0 at the end.
   * @throws {RksError} MESSAGE_INVALID
   */
  next(): number {
    if (this.#wireType !== undefined) this.#skip(this.#wireType);
    this.#wireType = undefined;
    if (this.#position === this.#bytes.byteLength) return 0;
    const key = this.#varint();
    this.#wireType = key & 7;
    const field = Math.floor(key / 8);
    if (field === 0) throw malformed("a field without a number");
    return field;
  }

  /** @throws {RksError} MESSAGE_INVALID when the field is no integer from 0 to 2^53 - 1. */
  integer(): number {
    this.#take(VARINT);
    return this.#varint();
  }

  /** @throws {RksError} MESSAGE_INVALID when the field is no integer from 0 to 2^53 - 1. */
  boolean(): boolean {
    return this.integer() !== 0;
  }

  /**
   * An integer of up to 64 bits, as text: an id, with which nobody counts.
   * @throws {RksError} MESSAGE_INVALID
   */
  id(): string {
    this.#take(VARINT);
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value.toString(16);
    }
    throw malformed("a number that does not end");
  }

  /**
   * The field's bytes, not copied.
   * @throws {RksError} MESSAGE_INVALID when the field has none or the message ends before them.
   */
  bytes(): Uint8Array {
    this.#take(LENGTH_DELIMITED);
    const length = this.#varint();
    return this.#advance(length);
  }

  #take(wireType: number): void {
    if (this.#wireType !== wireType) throw malformed("a field of another type");
    this.#wireType = undefined;
  }

  #skip(wireType: number): void {
    if (wireType === VARINT) this.#skipVarint();
    else if (wireType === FIXED_64) this.#advance(8);
    else if (wireType === LENGTH_DELIMITED) this.#advance(this.#varint());
    else if (wireType === FIXED_32) this.#advance(4);
    else throw malformed("a field of an unknown type");
  }

  #advance(length: number): Uint8Array {
    const end = this.#position + length;
    if (end > this.#bytes.byteLength) throw malformed("a field that is cut short");
    const part = this.#bytes.subarray(this.#position, end);
    this.#position = end;
    return part;
  }

  #varint(): number {
    let value = 0;
    let factor = 1;
    for (let count = 0; count < MAX_VARINT_BYTES; count += 1, factor *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw malformed("a number that is too large");
  }

  /** Member ids, terms and leases may have 64 bits. */
  #skipVarint(): void {
    for (let count = 0; count < 10; count += 1) {
      if (this.#byte() < 0x80) return;
    }
    throw malformed("a number that does not end");
  }

  #byte(): number {
    const byte = this.#bytes[this.#position];
    if (byte === undefined) throw malformed("a number that is cut short");
    this.#position += 1;
    return byte;
  }
}

function tag(field: number, wireType: number): number {
  return field * 8 + wireType;
}

/** Two numbers, one after the other. */
function varints(first: number, second: number): Uint8Array {
  const bytes: number[] = [];
  for (const value of [first, second]) {
    if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`cannot encode the number ${value}`);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
    bytes.push(rest);
  }
  return new Uint8Array(bytes);
}

function malformed(what: string): RksError {
  return new RksError("MESSAGE_INVALID", `an answer of the store holds ${what}`, {
    suggestion: "Check that the endpoint is an etcd v3 server.",
  });
}
