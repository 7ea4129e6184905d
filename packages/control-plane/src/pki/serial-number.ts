import { randomBytes } from "node:crypto";

/** The most that RFC 5280 §4.1.2.2 allows. */
const SERIAL_BYTES = 20;

/** A random positive serial number of exactly 20 bytes: 158 random bits. */
export function createSerialNumber(): Uint8Array {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes;
}

/** A serial number as Vault writes it: `39:dd:2e…`. */
export function formatSerialNumber(hex: string): string {
  return hex.match(/../g)?.join(":") ?? "";
}

/** Digits of a serial number in any of Vault's spellings (colons, hyphens or nothing between them, any case); undefined when it is none. */
export function parseSerialNumber(text: string): string | undefined {
  if (text.length > 3 * SERIAL_BYTES || !/^[0-9a-f]{2}(?:[:-]?[0-9a-f]{2})*$/i.test(text)) return undefined;
  return text.replaceAll(/[:-]/g, "").toLowerCase();
}
