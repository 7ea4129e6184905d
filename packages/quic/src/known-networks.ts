/** Networks that are remembered, some 100 bytes each: the fleet that one control plane is made for, behind addresses of its own. */
const MAX_NETWORKS = 16_384;

/**
 * The networks from which somebody has shown a good certificate, the latest last. Where joined nodes are, more are
 * likely to come back; somebody who never was one cannot get in here. Empty after a start.
 */
export class KnownNetworks {
  readonly #networks = new Set<string>();

  has(network: string): boolean {
    return this.#networks.has(network);
  }

  add(network: string): void {
    this.#networks.delete(network);
    this.#networks.add(network);
    const [oldest] = this.#networks;
    if (this.#networks.size > MAX_NETWORKS && oldest !== undefined) this.#networks.delete(oldest);
  }
}
