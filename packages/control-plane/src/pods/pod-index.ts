import { isOver, type PodRecord } from "./pod-record.js";

/** Where pods that are not placed yet are filed. */
const NOWHERE = "";

/** Which pods are where, so that nobody has to read them all to find those of one node. */
export class PodIndex {
  /** By node, then by record name: whether the pod is over. */
  readonly #byNode = new Map<string, Map<string, boolean>>();
  readonly #nodeOf = new Map<string, string>();
  /** At which revision of the store each was as it is filed. */
  readonly #revisions = new Map<string, number>();

  /** File a record as it was at a revision of the store, undefined when it was gone; what is filed already may be newer. */
  set(name: string, record: PodRecord | undefined, revision: number): void {
    if (revision < (this.#revisions.get(name) ?? 0)) return;
    if (record === undefined) this.#revisions.delete(name);
    else this.#revisions.set(name, revision);
    const before = this.#nodeOf.get(name);
    if (before !== undefined) {
      const pods = this.#byNode.get(before);
      pods?.delete(name);
      if (pods?.size === 0) this.#byNode.delete(before);
      this.#nodeOf.delete(name);
    }
    if (record === undefined) return;
    const nodeName = record.pod.spec.nodeName ?? NOWHERE;
    const pods = this.#byNode.get(nodeName) ?? new Map<string, boolean>();
    pods.set(name, isOver(record.pod));
    this.#byNode.set(nodeName, pods);
    this.#nodeOf.set(name, nodeName);
  }

  /** Where a pod is filed; undefined: nowhere, or it is not there. */
  nodeOf(name: string): string | undefined {
    const nodeName = this.#nodeOf.get(name);
    return nodeName === NOWHERE ? undefined : nodeName;
  }

  /** Names of the records of a node's pods; of those that are placed nowhere without one. */
  namesOf(nodeName: string | undefined): readonly string[] {
    return [...(this.#byNode.get(nodeName ?? NOWHERE)?.keys() ?? [])];
  }

  /** How many pods a node has that are not over. */
  count(nodeName: string): number {
    let count = 0;
    for (const isOverNow of this.#byNode.get(nodeName)?.values() ?? []) if (!isOverNow) count += 1;
    return count;
  }

  /** Every node that pods are placed on, whether it exists or not. */
  nodeNames(): readonly string[] {
    return [...this.#byNode.keys()].filter((name) => name !== NOWHERE);
  }
}
