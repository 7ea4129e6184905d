import { lookup } from "node:dns/promises";
import { isIP } from "node:net";

/** Addresses of one name that are tried; more than this is a mistake or a load balancer that means any of them. */
const MAX_ADDRESSES = 6;

/**
 * Find the IP addresses of a host, in the order of the system's resolver. Brackets around an IPv6 address are taken off.
 * @throws Error of the resolver when there are none. It has no deadline of its own.
 */
export async function resolveHost(host: string): Promise<readonly string[]> {
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  if (isIP(bare) !== 0) return [bare];
  const found = await lookup(bare, { all: true, verbatim: true });
  return [...new Set(found.map((entry) => entry.address))].slice(0, MAX_ADDRESSES);
}
