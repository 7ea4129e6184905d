const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const INVALID = 255;
const VALUES = new Uint8Array(128).fill(INVALID);
for (let i = 0; i < ALPHABET.length; i++) VALUES[ALPHABET.charCodeAt(i)] = i;
/** Two digits at a time: the text of every 12 bits. */
const PAIRS = Array.from({ length: 4096 }, (_, bits) => ALPHABET[bits >> 6]! + ALPHABET[bits & 63]!);

/** Encode bytes as base64url without padding (RFC 4648 §5). */
export function encodeBase64Url(bytes: Uint8Array): string {
  let text = "";
  const whole = bytes.length - (bytes.length % 3);
  for (let i = 0; i < whole; i += 3) {
    const group = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!;
    text += PAIRS[group >> 12]! + PAIRS[group & 4095]!;
  }
  const left = bytes.length - whole;
  if (left === 1) text += PAIRS[bytes[whole]! << 4]!;
  if (left === 2) {
    const group = (bytes[whole]! << 16) | (bytes[whole + 1]! << 8);
    text += PAIRS[group >> 12]! + ALPHABET[(group >> 6) & 63]!;
  }
  return text;
}

/**
 * Decode base64url without padding. Only the one canonical spelling of the bytes is accepted: no padding, no
 * white space, no stray bits at the end (RFC 4648 §3.5). Returns undefined for anything else.
 */
export function decodeBase64Url(text: string): Uint8Array | undefined {
  const rest = text.length % 4;
  if (rest === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let written = 0;
  for (let i = 0; i < text.length; i += 4) {
    let group = 0;
    for (let j = 0; j < 4; j++) {
      const at = i + j;
      if (at >= text.length) {
        group <<= 6;
        continue;
      }
      const value = VALUES[text.charCodeAt(at)] ?? INVALID;
      if (value === INVALID) return undefined;
      group = (group << 6) | value;
    }
    const digits = Math.min(4, text.length - i);
    if ((digits === 2 && (group & 0xffff) !== 0) || (digits === 3 && (group & 0xff) !== 0)) return undefined;
    bytes[written++] = group >> 16;
    if (digits > 2) bytes[written++] = (group >> 8) & 0xff;
    if (digits > 3) bytes[written++] = group & 0xff;
  }
  return bytes;
}
