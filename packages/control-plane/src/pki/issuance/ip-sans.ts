import { formatIpAddress, parseIpAddress } from "@rk8s/x509";

/** `::ffff:0:0/96`: IPv4 written as IPv6 (RFC 4291 §2.5.5.2). */
const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** The one spelling of an address, IPv4 also where it is mapped into IPv6; undefined when the text is none. */
export function canonicalIpAddress(text: string): string | undefined {
  const bytes = parseIpAddress(text);
  if (bytes === undefined) return undefined;
  const isMapped = bytes.length === 16 && MAPPED_PREFIX.every((byte, index) => bytes[index] === byte);
  return formatIpAddress(isMapped ? bytes.subarray(12) : bytes);
}
