import { isIPv6 } from "node:net";

/** However small the whole budget is, one network gets this much of it. */
const LEAST_PER_NETWORK = 4;

/**
 * Count handshakes under way, so that their number is bounded and one network cannot take all places: it gets half of
 * them. A network is an IPv4 address or the first 64 bits of an IPv6 address, which one host may own (RFC 7421 §1).
 */
export class HandshakeBudget {
  readonly #most: number;
  readonly #mostPerNetwork: number;
  readonly #byNetwork = new Map<string, number>();
  #count = 0;

  constructor(most: number) {
    this.#most = most;
    this.#mostPerNetwork = Math.max(LEAST_PER_NETWORK, Math.ceil(most / 2));
  }

  /** Take a place. @returns false when there is none for this host; nothing is taken then. */
  enter(host: string): boolean {
    const network = networkOf(host);
    const count = this.#byNetwork.get(network) ?? 0;
    if (this.#count >= this.#most || count >= this.#mostPerNetwork) return false;
    this.#count++;
    this.#byNetwork.set(network, count + 1);
    return true;
  }

  /** Give back a place that `enter` gave to the same host. */
  leave(host: string): void {
    const network = networkOf(host);
    const count = this.#byNetwork.get(network) ?? 0;
    this.#count--;
    if (count <= 1) this.#byNetwork.delete(network);
    else this.#byNetwork.set(network, count - 1);
  }
}

function networkOf(host: string): string {
  if (!isIPv6(host)) return host;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = host.split("::");
  const leading = head === "" ? [] : head.split(":");
  const trailing = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: Math.max(0, 8 - leading.length - trailing.length) }, () => "0");
  return [...leading, ...zeros, ...trailing].slice(0, 4).join(":");
}
