import { RksError } from "@rk8s/protocol";
import ipaddr from "ipaddr.js";

type Network = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

/**
 * The one spelling of a network: `10.1.2.3/8` becomes `10.0.0.0/8`, an address alone a network of one.
 * @throws {RksError} INPUT_INVALID.
 */
export function normalizeCidr(text: string): string {
  const network = parseNetwork(text);
  if (network === undefined) {
    throw new RksError("INPUT_INVALID", `"${text.slice(0, 80)}" is not a network in CIDR notation`, {
      suggestion: "Write it like 10.0.0.0/8 or fd00::/64.",
    });
  }
  const [address, length] = network;
  const base =
    address.kind() === "ipv4"
      ? ipaddr.IPv4.networkAddressFromCIDR(`${address.toString()}/${length}`)
      : ipaddr.IPv6.networkAddressFromCIDR(`${address.toString()}/${length}`);
  return `${base.toString()}/${length}`;
}

/** Whether an address lies in a network; false for what is no address or no network. */
export function isInNetwork(host: string, cidr: string): boolean {
  const network = parseNetwork(cidr);
  const bare = host.replace(/%.*$/, "");
  if (network === undefined || !isAddress(bare)) return false;
  const address = ipaddr.process(bare);
  return address.kind() === network[0].kind() && address.match([network[0], network[1]] as [never, number]);
}

function parseNetwork(text: string): Network | undefined {
  const [host = "", length, ...rest] = text.split("/");
  if (!isAddress(host) || rest.length > 0) return undefined;
  const written = ipaddr.parse(host);
  const address = ipaddr.process(host);
  const mapped = written.kind() !== address.kind();
  const maxLength = written.kind() === "ipv4" ? 32 : 128;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return undefined;
  const bits = length === undefined ? maxLength : Number(length);
  if (bits > maxLength || (mapped && bits < 96)) return undefined;
  return [address, mapped ? bits - 96 : bits];
}

/**
 * Four decimal parts or IPv6: the shorter and octal spellings that ipaddr.js knows too mean different things to
 * different people.
 */
function isAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text);
}
