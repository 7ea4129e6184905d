/** Processes of one node that are remembered; a node has one, and one that came before it. */
const MAX_SUPERSEDED = 8;

interface InstancesOfNode {
  readonly current: string;
  /** Those whose connection another one took over, the oldest first. */
  readonly superseded: readonly string[];
}

/**
 * Which processes hold the identity of each node, as far as they say so. An agent's process that was replaced is gone: when
 * it is back after another took its place, there are two of them. Forgotten with this process; two that are alive show
 * themselves again.
 */
export class NodeInstances {
  readonly #nodes = new Map<string, InstancesOfNode>();

  /** A process takes the node; false when another has taken it from this one before. */
  take(nodeName: string, instanceId: string): boolean {
    const known = this.#nodes.get(nodeName);
    if (known?.superseded.includes(instanceId) === true) return false;
    const isSame = known === undefined || known.current === instanceId;
    const superseded = isSame ? (known?.superseded ?? []) : [...known.superseded, known.current];
    this.#nodes.set(nodeName, { current: instanceId, superseded: superseded.slice(-MAX_SUPERSEDED) });
    return true;
  }

  /** What is known of a node, for another control plane. */
  of(nodeName: string): { current: string; superseded: string[] } | undefined {
    const known = this.#nodes.get(nodeName);
    return known && { current: known.current, superseded: [...known.superseded] };
  }

  /** What another control plane knows of a node; it has seen it later than this one. */
  adopt(nodeName: string, known: InstancesOfNode): void {
    this.#nodes.set(nodeName, known);
  }

  /** The node has a new identity, or none: whoever held the one before is no copy of it. */
  forget(nodeName: string): void {
    this.#nodes.delete(nodeName);
  }
}
