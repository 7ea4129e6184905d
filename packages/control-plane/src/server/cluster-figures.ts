import type { Liveness } from "../nodes/liveness.js";

/** How a cluster is at this moment, from memory alone: reading it costs nothing that grows with what is stored. */
export interface ClusterFigures {
  /** Nodes that were heard of since this process started, by liveness. */
  readonly nodes: Readonly<Record<Liveness, number>>;
  /** Open connections by who is at the other end. `bootstrapping`: nobody, or refused and not closed yet. */
  readonly connections: Readonly<Record<"node" | "operator" | "bootstrapping", number>>;
  /** The furthest that a connected node's clock is ahead of this one, and behind it; seconds, as the nodes measured. */
  readonly nodeClockSkewSeconds: { readonly ahead: number; readonly behind: number };
  /** Of the certificates that connected nodes present; milliseconds. Undefined when none is connected. */
  readonly firstNodeCertificateNotAfter: number | undefined;
  /** Of the certificate that is served now; milliseconds. Undefined while nothing is served. */
  readonly serverCertificateNotAfter: number | undefined;
  /** Of the cluster's root; milliseconds. */
  readonly rootNotAfter: number;
  /** Of the intermediate that signs for an offline root; milliseconds. Undefined when the root signs itself. */
  readonly intermediateNotAfter: number | undefined;
  /** Of the certificates that the members of the external store show; milliseconds. Undefined where there are none. */
  readonly firstStoreNotAfter: number | undefined;
  /** Of the roots to trust: grows with each step of a root rotation. */
  readonly trustGeneration: number;
  /** Connected nodes that have not acknowledged it. */
  readonly nodesBehindTrust: number;
}
