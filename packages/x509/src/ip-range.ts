import { formatIpAddress, parseIpAddress } from "./ip-address.js";

/**
 * An IP range in CIDR notation as name constraints carry it: address and mask, 8 or 32 bytes (RFC 5280 §4.2.1.10). Bits
 * behind the prefix are cleared. Undefined when the text is no range.
 */
export function parseIpRange(text: string): Uint8Array | undefined {
  const [address = "", prefix = "", ...rest] = text.split("/");
  const bytes = parseIpAddress(address);
  if (bytes === undefined || rest.length > 0 || !/^(?:0|[1-9]\d{0,2})$/.test(prefix)) return undefined;
  const bits = Number(prefix);
  if (bits > bytes.length * 8) return undefined;
  const range = new Uint8Array(2 * bytes.length);
  for (const [i, byte] of bytes.entries()) {
    const mask = (0xff00 >> Math.min(Math.max(bits - 8 * i, 0), 8)) & 0xff;
    range[i] = byte & mask;
    range[bytes.length + i] = mask;
  }
  return range;
}

/** Address and mask in CIDR notation; undefined unless there are 8 or 32 bytes and the mask is a prefix. */
export function formatIpRange(bytes: Uint8Array): string | undefined {
  if (bytes.length !== 8 && bytes.length !== 32) return undefined;
  const size = bytes.length / 2;
  let bits = 0;
  while (bits < size * 8 && ((bytes[size + (bits >> 3)] ?? 0) & (0x80 >> (bits & 7))) !== 0) bits++;
  for (let bit = bits; bit < size * 8; bit++) {
    if (((bytes[size + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) return undefined;
  }
  const address = formatIpAddress(bytes.subarray(0, size));
  return address === undefined ? undefined : `${address}/${bits}`;
}
