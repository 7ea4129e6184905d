const ALPHABET = new TextEncoder().encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const PADDING = 0x3d;
const NEWLINE = 0x0a;
/** RFC 7468 §2: lines of 64 characters, which hold 48 bytes. */
const LINE_BYTES = 48;

/**
 * Write DER as PEM (RFC 7468), bytes to bytes: no JavaScript string ever holds the content, so that a private
 * key can be wiped afterwards by filling the result with zeros.
 */
export function derToPem(label: "CERTIFICATE" | "PRIVATE KEY", der: Uint8Array): Uint8Array {
  const begin = new TextEncoder().encode(`-----BEGIN ${label}-----\n`);
  const end = new TextEncoder().encode(`-----END ${label}-----\n`);
  const lines = Math.ceil(der.length / LINE_BYTES);
  const pem = new Uint8Array(begin.length + Math.ceil(der.length / 3) * 4 + lines + end.length);
  pem.set(begin, 0);
  let at = begin.length;
  for (let start = 0; start < der.length; start += LINE_BYTES) {
    at = writeBase64(der, start, Math.min(start + LINE_BYTES, der.length), pem, at);
    pem[at++] = NEWLINE;
  }
  pem.set(end, at);
  return pem;
}

/** Write several certificates one after another, as a chain or a set of roots. */
export function certificatesToPem(certificates: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(certificates.map((der) => derToPem("CERTIFICATE", der)));
}

function writeBase64(from: Uint8Array, start: number, end: number, to: Uint8Array, position: number): number {
  let at = position;
  for (let i = start; i < end; i += 3) {
    const a = from[i] ?? 0;
    const b = from[i + 1] ?? 0;
    const c = from[i + 2] ?? 0;
    to[at++] = ALPHABET[a >> 2] ?? PADDING;
    to[at++] = ALPHABET[((a & 3) << 4) | (b >> 4)] ?? PADDING;
    to[at++] = i + 1 < end ? (ALPHABET[((b & 15) << 2) | (c >> 6)] ?? PADDING) : PADDING;
    to[at++] = i + 2 < end ? (ALPHABET[c & 63] ?? PADDING) : PADDING;
  }
  return at;
}
