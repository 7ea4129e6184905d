import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";
import { nodeRecovery } from "./node-recovery.js";

/** One certificate of a node. */
const nodeCertificate = z.object({
  serialNumber: z.string(),
  spkiSha256: z.string(),
  notAfter: z.iso.datetime(),
});

const nodeRecord = z.object({
  name: z.string(),
  /** New whenever a name is joined afresh; a rejoin keeps it. */
  uid: z.string(),
  /** Of the current certificate; hexadecimal digits. */
  serialNumber: z.string(),
  /** SHA-256 of that certificate's SubjectPublicKeyInfo; hexadecimal digits. */
  spkiSha256: z.string(),
  notAfter: z.iso.datetime(),
  /** Of the current certificate: 0 at the first join, one more with each that took its place. */
  generation: z.int().min(0).default(0),
  /** Issued by a renewal and not used yet; its first use makes it the current one. */
  next: nodeCertificate.optional(),
  joinedAt: z.iso.datetime(),
  /** The join token that the current certificate was issued for. */
  tokenId: z.string(),
  labels: z.record(z.string(), z.string()),
  /** Highest generation of the cluster's roots that the node has acknowledged; see TrustBundle. */
  trustGeneration: z.int().min(0).optional(),
  /** How the node comes back when its key is lost; nothing is known of it when it is left out. */
  recovery: nodeRecovery.optional(),
  /** Epoch of the restore after which the node went on with a certificate that the store had not seen. */
  adoptedIn: z.int().optional(),
  /** Reason, while the node is refused. */
  banned: z.string().optional(),
  /** Why, while the node is refused because two processes use its identity. */
  cloned: z.string().optional(),
  /** The last time that somebody presented a certificate that the node had before. */
  cloneAlarm: z.object({ at: z.iso.datetime(), serialNumber: z.string(), remoteHost: z.string() }).optional(),
});

/** One certificate of a node: what a connection presents is compared with this. */
export type NodeCertificate = z.infer<typeof nodeCertificate>;

/** Who a node is. Written by what changes its identity only; how a node is lives in `node-state.ts`. */
export type NodeRecord = z.infer<typeof nodeRecord>;

/** Where nodes are, in the barrier. */
export const NODES_PREFIX = "cluster/nodes/";

/** The nodes that joined, by name. */
export function nodeRecords(storage: Storage): RecordCollection<NodeRecord> {
  return new RecordCollection(storage, NODES_PREFIX, nodeRecord);
}
