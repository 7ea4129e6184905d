import { pod as podSchema, type Pod, type PodManifest } from "@rk8s/protocol";
import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";

const podRecord = z.object({
  pod: podSchema,
  /** The node that the manifest asks for; null when any will do. */
  requestedNodeName: z.string().nullable(),
  /** Seconds that its containers get to end once it is deleted; null: as the pod says. */
  deletionGraceSeconds: z.number().int().nullable(),
});

/** A pod as it is kept. `pod.spec.nodeName` is where it was placed. */
export type PodRecord = z.infer<typeof podRecord>;

/** Which pod is meant. */
export interface PodKey {
  readonly namespace: string;
  readonly name: string;
}

/** Where pods are, in the barrier. */
export const PODS_PREFIX = "cluster/pods/";

/** The pods of the cluster by `<namespace>/<name>`. */
export function podRecords(storage: Storage): RecordCollection<PodRecord> {
  return new RecordCollection(storage, PODS_PREFIX, podRecord);
}

/** Name of a pod's record. */
export function podRecordName({ namespace, name }: PodKey): string {
  return `${namespace}/${name}`;
}

/** The manifest that a record was made from. */
export function manifestOf({ pod, requestedNodeName }: PodRecord): PodManifest {
  const { name, namespace, labels, annotations } = pod.metadata;
  const { nodeName: _nodeName, ...spec } = pod.spec;
  return {
    apiVersion: pod.apiVersion,
    kind: pod.kind,
    metadata: {
      name,
      namespace,
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    },
    spec: { ...(requestedNodeName === null ? {} : { nodeName: requestedNodeName }), ...spec },
  };
}

/** Whether a pod is over: it is not started again, and not sent to its node any more. */
export function isOver({ status }: Pod): boolean {
  return status.phase === "Succeeded" || status.phase === "Failed";
}
