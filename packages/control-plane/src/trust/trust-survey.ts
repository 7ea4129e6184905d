import type { Storage } from "@rk8s/storage";
import { type NodeRecord, nodeRecords } from "../nodes/node-record.js";
import type { ClusterCa } from "../pki/cluster-ca.js";

/** How far the nodes have followed the roots. Banned nodes do not count: they are refused whatever they trust. */
export interface TrustSurvey {
  readonly total: number;
  /** Nodes that have not acknowledged the newest generation. */
  readonly notAcknowledged: readonly string[];
  /** Nodes whose living certificate is not of the root that signs now. */
  readonly withOldCertificate: readonly string[];
}

export interface TrustSurveyPorts {
  readonly barrier: Storage;
  readonly clusterCa: Pick<ClusterCa, "trust" | "isOfActiveRoot">;
}

/** Look at every node's record. */
export async function surveyTrust(ports: TrustSurveyPorts, now: number): Promise<TrustSurvey> {
  const { barrier, clusterCa } = ports;
  const { generation } = clusterCa.trust();
  const notAcknowledged: string[] = [];
  const withOldCertificate: string[] = [];
  let total = 0;
  for await (const { record } of nodeRecords(barrier).list()) {
    if (record.banned !== undefined) continue;
    total += 1;
    if (!hasAcknowledged(record, generation)) notAcknowledged.push(record.name);
    const isAlive = Date.parse(record.notAfter) > now;
    if (isAlive && !(await clusterCa.isOfActiveRoot(record.serialNumber)))
      withOldCertificate.push(record.name);
  }
  return { total, notAcknowledged, withOldCertificate };
}

/** Whether a node is known to trust the roots of this generation. Nobody needs to acknowledge the first one. */
export function hasAcknowledged(record: NodeRecord, generation: number): boolean {
  return (record.trustGeneration ?? 0) >= generation;
}
