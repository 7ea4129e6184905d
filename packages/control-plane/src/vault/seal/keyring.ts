import { createHmac, randomFillSync } from "node:crypto";

import { RksError } from "@rk8s/protocol";

import { KEY_BYTES, openRecord, recordHeader, sealRecord } from "./sealed-record.js";

const FORMAT = 1;
const HEADER_BYTES = 3;
/** Term, install time in milliseconds, key. */
const TERM_BYTES = 4 + 6 + KEY_BYTES;
/** What fits into one value of the store; one a day for 80 years. */
const MAX_TERMS = 30_000;

interface TermKey {
  readonly term: number;
  readonly installedAtMs: number;
  readonly key: Uint8Array;
}

/**
 * The barrier's encryption keys by term. The newest term encrypts; older ones stay, so that what they encrypted can
 * still be read. Keys are bytes that `zero` wipes, never strings.
 */
export class Keyring {
  readonly #keys = new Map<number, TermKey>();
  #active: TermKey;

  private constructor(keys: readonly [TermKey, ...TermKey[]]) {
    [this.#active] = keys;
    for (const key of keys) {
      this.#keys.set(key.term, key);
      if (key.term > this.#active.term) this.#active = key;
    }
  }

  /** A keyring with one new random key, term 1. */
  static create(nowMs: number): Keyring {
    return new Keyring([{ term: 1, installedAtMs: nowMs, key: randomKey() }]);
  }

  /**
   * Read what `serialize` wrote; the keys are copied.
   * @throws {RksError} STORAGE_CORRUPT
   */
  static parse(bytes: Uint8Array): Keyring {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const count = buffer.length < HEADER_BYTES ? 0 : buffer.readUInt16BE(1);
    const length = HEADER_BYTES + count * TERM_BYTES;
    if (count === 0 || buffer[0] !== FORMAT || buffer.length !== length) throw unreadable();
    const keys: TermKey[] = [];
    for (let offset = HEADER_BYTES; offset < length; offset += TERM_BYTES) {
      keys.push({
        term: buffer.readUInt32BE(offset),
        installedAtMs: buffer.readUIntBE(offset + 4, 6),
        key: Uint8Array.from(buffer.subarray(offset + 10, offset + TERM_BYTES)),
      });
    }
    const [first, ...rest] = keys;
    if (first === undefined) throw unreadable();
    return new Keyring([first, ...rest]);
  }

  /** The term that encrypts. */
  get activeTerm(): number {
    return this.#active.term;
  }

  /** When the active term's key was made, milliseconds since the epoch. */
  get activeSinceMs(): number {
    return this.#active.installedAtMs;
  }

  /**
   * A keyring with one more term, which encrypts from then on; this one stays as it is.
   * @throws {RksError} INPUT_INVALID when there are as many terms as there may be.
   */
  rotated(nowMs: number): Keyring {
    if (this.#keys.size >= MAX_TERMS) throw tooManyTerms();
    const next = { term: this.#active.term + 1, installedAtMs: nowMs, key: randomKey() };
    const old = [...this.#keys.values()].map((term) => ({ ...term, key: Uint8Array.from(term.key) }));
    return new Keyring([next, ...old]);
  }

  /** The keys in clear, for encryption under the root key; wipe the bytes afterwards. */
  serialize(): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(HEADER_BYTES + this.#keys.size * TERM_BYTES);
    bytes.writeUInt8(FORMAT, 0);
    bytes.writeUInt16BE(this.#keys.size, 1);
    let offset = HEADER_BYTES;
    for (const { term, installedAtMs, key } of this.#keys.values()) {
      bytes.writeUInt32BE(term, offset);
      bytes.writeUIntBE(installedAtMs, offset + 4, 6);
      bytes.set(key, offset + 10);
      offset += TERM_BYTES;
    }
    return bytes;
  }

  /** Encrypt with the active term; see `sealRecord`. */
  encrypt(path: string, sequence: number, plaintext: Uint8Array): Uint8Array {
    return sealRecord(this.#active.key, path, { term: this.#active.term, sequence }, plaintext);
  }

  /** Decrypt with the term that the record names; undefined when that fails or the term is unknown. */
  decrypt(path: string, record: Uint8Array): Uint8Array | undefined {
    const header = recordHeader(record);
    const term = header === undefined ? undefined : this.#keys.get(header.term);
    return term === undefined ? undefined : openRecord(term.key, path, record);
  }

  /**
   * A key for one purpose, made from that of a term (RFC 5869, HKDF-Expand with one block); undefined when the term is
   * unknown. The caller wipes it.
   */
  derive(purpose: string, term: number): Uint8Array | undefined {
    const key = this.#keys.get(term)?.key;
    if (key === undefined) return undefined;
    return createHmac("sha256", key).update(purpose).update(Buffer.of(1)).digest();
  }

  /** Whether the key that a record names is there; true also for what is no record. */
  knowsTermOf(record: Uint8Array): boolean {
    const header = recordHeader(record);
    return header === undefined || this.#keys.has(header.term);
  }

  /** Overwrite every key. The keyring cannot be used afterwards. */
  zero(): void {
    for (const { key } of this.#keys.values()) key.fill(0);
    this.#keys.clear();
  }
}

/** 32 random bytes in memory of their own, so that wiping them wipes the only copy. */
export function randomKey(): Uint8Array {
  return randomFillSync(new Uint8Array(KEY_BYTES));
}

function tooManyTerms(): RksError {
  return new RksError("INPUT_INVALID", `the keyring holds ${MAX_TERMS} keys already`, {
    suggestion: "Rotate less often.",
  });
}

function unreadable(): RksError {
  return new RksError("STORAGE_CORRUPT", "the keyring has a form that is not known", {
    suggestion: "Restore the data folder from a backup, or use the version of rks that wrote it.",
  });
}
