import { isIPv6 } from "node:net";

/** The network that a host counts for: an IPv4 address, or the first 64 bits of an IPv6 address, which one host may own (RFC 7421 §1). */
export function networkOf(host: string): string {
  if (!isIPv6(host)) return host;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = host.split("::");
  const leading = head === "" ? [] : head.split(":");
  const trailing = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: Math.max(0, 8 - leading.length - trailing.length) }, () => "0");
  return [...leading, ...zeros, ...trailing].slice(0, 4).join(":");
}

/** How many of something each network has. */
export class NetworkCounts {
  readonly #counts = new Map<string, number>();

  of(network: string): number {
    return this.#counts.get(network) ?? 0;
  }

  add(network: string): void {
    this.#counts.set(network, this.of(network) + 1);
  }

  remove(network: string): void {
    const count = this.of(network);
    if (count <= 1) this.#counts.delete(network);
    else this.#counts.set(network, count - 1);
  }
}
