/** A node as the scheduler sees it. */
export interface Candidate {
  readonly name: string;
  readonly isReady: boolean;
  /** Pods that it has. */
  readonly pods: number;
  /** Pods that it takes. */
  readonly maxPods: number;
}

/** Where a pod goes, or why it waits. */
export type Placement = { readonly nodeName: string } | { readonly pending: string };

/**
 * Place a pod: on the node that it asks for, whether there is one or not; else on the Ready node with room that
 * has the fewest pods, the first by name among equals; else nowhere yet.
 */
export function placePod(requested: string | null, candidates: readonly Candidate[]): Placement {
  if (requested !== null) return { nodeName: requested };
  const ready = candidates.filter(({ isReady }) => isReady);
  const [best] = ready
    .filter(({ pods, maxPods }) => pods < maxPods)
    .toSorted((a, b) => a.pods - b.pods || (a.name < b.name ? -1 : 1));
  if (best !== undefined) return { nodeName: best.name };
  const pending =
    ready.length === 0
      ? `none of ${candidates.length} nodes is Ready`
      : `all ${ready.length} Ready nodes are full`;
  return { pending };
}
