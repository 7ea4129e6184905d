import { RksError } from "@rk8s/protocol";

/**
 * Reads SSH's data types (RFC 4251 §5) strictly: nothing is skipped, nothing may be left over.
 * @throws {RksError} INPUT_INVALID from every method when the bytes are not of that shape.
 */
export class SshReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  /** `what` names the whole in errors, for example `SSH signature`. */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  /** So many bytes. */
  bytes(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw this.refused("it ends too early");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  uint32(): number {
    return this.bytes(4).readUInt32BE();
  }

  /** A `string`: a length and so many bytes. */
  string(): Buffer {
    return this.bytes(this.uint32());
  }

  /** A `string` of visible ASCII. */
  text(): string {
    const bytes = this.string();
    if (bytes.some((byte) => byte < 0x21 || byte > 0x7e)) throw this.refused("a name in it is not ASCII");
    return bytes.toString("latin1");
  }

  /** An `mpint` greater than zero, without leading zeros. */
  positive(): Buffer {
    const bytes = this.string();
    const [first = 0, second = 0] = bytes;
    if (bytes.length === 0 || first >= 0x80) throw this.refused("a number in it is not positive");
    if (first !== 0) return bytes;
    if (second < 0x80) throw this.refused("a number in it has needless zeros");
    return bytes.subarray(1);
  }

  /** Nothing more may come. */
  finish(): void {
    if (this.#at !== this.#bytes.length) throw this.refused("something follows it");
  }

  /** The error for what this reads. */
  refused(problem: string): RksError {
    return new RksError("INPUT_INVALID", `the ${this.#what} is refused: ${problem}`);
  }
}
