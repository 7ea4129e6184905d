import { RksError } from "@rk8s/protocol";
import { type DerErrorCode } from "./der-reader.js";

/** One PEM block (RFC 7468). */
export interface PemBlock {
  /** `CERTIFICATE`, `CERTIFICATE REQUEST`, `PRIVATE KEY` … */
  readonly label: string;
  readonly der: Uint8Array;
}

export interface PemOptions {
  /** Code of a failure; default CERTIFICATE_INVALID. */
  readonly code?: DerErrorCode;
  /** Default 1 MiB, which holds any chain with its keys; a CRL of 100,000 entries takes 7 MB. */
  readonly maxBytes?: number;
}

/** A chain of certificates with explanations around them stays far below. */
const MAX_PEM_BYTES = 1_048_576;
const MAX_BLOCKS = 256;
const LINE_LENGTH = 64;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const ALPHABET = bytesOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const NOT_BASE64 = -1;
const WHITESPACE = -2;
const VALUES = new Int8Array(256).fill(NOT_BASE64);
for (const [value, byte] of ALPHABET.entries()) VALUES[byte] = value;
for (const byte of [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20]) VALUES[byte] = WHITESPACE;
const BEGIN = bytesOf("-----BEGIN ");
const END = bytesOf("-----END ");
const DASHES = bytesOf("-----");
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

/** PEM text with lines of 64 characters and a newline at the end. Not for keys: see `encodePemBytes`. */
export function encodePem(label: string, der: Uint8Array): string {
  return decoder.decode(encodePemBytes(label, der));
}

/** PEM as bytes, made without any string of the contents, so that the caller can wipe every copy of a key. */
export function encodePemBytes(label: string, der: Uint8Array): Uint8Array {
  const digits = Math.ceil(der.length / 3) * 4;
  const lines = Math.ceil(digits / LINE_LENGTH);
  const head = bytesOf(`-----BEGIN ${label}-----\n`);
  const tail = bytesOf(`-----END ${label}-----\n`);
  const out = new Uint8Array(head.length + digits + lines + tail.length);
  out.set(head);
  let at = head.length;
  for (let i = 0; i < der.length; i += 3) {
    const group = ((der[i] ?? 0) << 16) | ((der[i + 1] ?? 0) << 8) | (der[i + 2] ?? 0);
    out[at++] = ALPHABET[group >> 18] ?? 0;
    out[at++] = ALPHABET[(group >> 12) & 63] ?? 0;
    out[at++] = i + 1 < der.length ? (ALPHABET[(group >> 6) & 63] ?? 0) : EQUALS;
    out[at++] = i + 2 < der.length ? (ALPHABET[group & 63] ?? 0) : EQUALS;
    if ((i / 3 + 1) % (LINE_LENGTH / 4) === 0 || i + 3 >= der.length) out[at++] = NEWLINE;
  }
  out.set(tail, at);
  return out;
}

/**
 * All blocks of a PEM text or of its bytes, in order; text before, between and after them is skipped. Bytes are
 * decoded without making strings of the contents.
 * @throws {RksError} the given code when a block is not closed by its own END line or is not base64, or a bound is exceeded.
 */
export function decodePem(pem: string | Uint8Array, options: PemOptions = {}): PemBlock[] {
  const code = options.code ?? "CERTIFICATE_INVALID";
  const bytes = typeof pem === "string" ? encoder.encode(pem) : pem;
  const maxBytes = options.maxBytes ?? MAX_PEM_BYTES;
  if (bytes.length > maxBytes) refuse(code, `${bytes.length} bytes are more than the limit of ${maxBytes}`);
  const blocks: PemBlock[] = [];
  let at = 0;
  for (;;) {
    const begin = indexOf(bytes, BEGIN, at);
    if (begin === -1) return blocks;
    if (blocks.length === MAX_BLOCKS) refuse(code, `there are more than ${MAX_BLOCKS} blocks`);
    const label = readLabel(bytes, begin + BEGIN.length, code);
    const start = begin + BEGIN.length + label.length + DASHES.length;
    const end = indexOf(bytes, END, start);
    const tail = bytesOf(`${label}-----`);
    if (
      end === -1 ||
      indexOf(bytes.subarray(0, end + END.length + tail.length), tail, end + END.length) === -1
    ) {
      refuse(code, `block "${label}" has no END line`);
    }
    blocks.push({ label, der: decodeBase64(bytes.subarray(start, end), label, code) });
    at = end + END.length + tail.length;
  }
}

/**
 * The certificates of a PEM text, in order; other blocks are skipped.
 * @throws {RksError} CERTIFICATE_INVALID when it holds none or a block cannot be decoded.
 */
export function decodePemCertificates(pem: string | Uint8Array): Uint8Array[] {
  const certificates = decodePem(pem).filter(
    ({ label }) => label === "CERTIFICATE" || label === "X509 CERTIFICATE",
  );
  if (certificates.length === 0) refuse("CERTIFICATE_INVALID", "it has no CERTIFICATE block");
  return certificates.map(({ der }) => der);
}

function readLabel(bytes: Uint8Array, start: number, code: DerErrorCode): string {
  const maxLabel = 64;
  const end = indexOf(bytes.subarray(0, start + maxLabel + DASHES.length), DASHES, start);
  if (end === -1) refuse(code, "a BEGIN line does not end in dashes");
  const label = String.fromCharCode(...bytes.subarray(start, end));
  if (!/^[!-,.-~](?:[ -]?[!-,.-~])*$/.test(label)) refuse(code, "a BEGIN line has no proper label");
  return label;
}

function decodeBase64(text: Uint8Array, label: string, code: DerErrorCode): Uint8Array {
  const out = new Uint8Array(Math.ceil((text.length * 3) / 4));
  let length = 0;
  let bits = 0;
  let pending = 0;
  let digits = 0;
  let padding = 0;
  for (const byte of text) {
    const value = VALUES[byte] ?? NOT_BASE64;
    if (value === WHITESPACE) continue;
    if (byte === EQUALS) padding++;
    else if (value < 0 || padding > 0) refuse(code, `block "${label}" is not base64`);
    else {
      digits++;
      bits = (bits << 6) | value;
      pending += 6;
      if (pending < 8) continue;
      pending -= 8;
      out[length++] = bits >> pending;
      bits &= (1 << pending) - 1;
    }
  }
  if ((digits + padding) % 4 !== 0 || padding > 2 || bits !== 0)
    refuse(code, `block "${label}" is not complete base64`);
  return out.subarray(0, length);
}

function indexOf(bytes: Uint8Array, pattern: Uint8Array, from: number): number {
  const [first = 0] = pattern;
  for (let at = bytes.indexOf(first, from); at !== -1; at = bytes.indexOf(first, at + 1)) {
    if (at + pattern.length > bytes.length) return -1;
    if (isAt(bytes, pattern, at)) return at;
  }
  return -1;
}

function isAt(bytes: Uint8Array, pattern: Uint8Array, at: number): boolean {
  for (let i = 0; i < pattern.length; i += 1) if (bytes[at + i] !== pattern[i]) return false;
  return true;
}

function bytesOf(ascii: string): Uint8Array {
  return encoder.encode(ascii);
}

function refuse(code: DerErrorCode, problem: string): never {
  throw new RksError(code, `PEM cannot be read: ${problem}`, {
    suggestion: "Check that the file is complete, from -----BEGIN to the last dash.",
  });
}
