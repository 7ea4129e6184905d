import { z } from "zod";
import type { Storage } from "../storage/storage.js";
import { RecordCollection } from "../storage/record-collection.js";

const nodeRecord = z.object({
  name: z.string(),
  /** New whenever a name is joined afresh; a rejoin keeps it. */
  uid: z.string(),
  /** Of the one certificate that identifies the node now; hexadecimal digits. */
  serialNumber: z.string(),
  /** SHA-256 of that certificate's SubjectPublicKeyInfo; hexadecimal digits. */
  spkiSha256: z.string(),
  notAfter: z.iso.datetime(),
  joinedAt: z.iso.datetime(),
  /** The join token that the current certificate was issued for. */
  tokenId: z.string(),
  labels: z.record(z.string(), z.string()),
  /** Highest generation of the cluster's roots that the node has acknowledged; see TrustBundle. */
  trustGeneration: z.int().min(0).optional(),
  /** Reason, while the node is refused. */
  banned: z.string().optional(),
});

/** Who a node is. Written by enrolment only; how a node is lives in `node-state.ts`. */
export type NodeRecord = z.infer<typeof nodeRecord>;

/** The nodes that joined, by name. */
export function nodeRecords(storage: Storage): RecordCollection<NodeRecord> {
  return new RecordCollection(storage, "cluster/nodes/", nodeRecord);
}
