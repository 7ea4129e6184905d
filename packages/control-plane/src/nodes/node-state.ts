import { MESSAGE_SCHEMAS, type NodeStatus } from "@rk8s/protocol";
import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";

const nodeState = z.object({
  /** Of the agent. */
  version: z.string(),
  address: z.string(),
  status: MESSAGE_SCHEMAS.Heartbeat.shape.status,
  liveness: z.enum(["Ready", "NotReady", "Unknown"]),
  /** Since when it is so. */
  since: z.iso.datetime(),
  /** The last one before this was written. */
  lastHeartbeat: z.iso.datetime(),
  survives: MESSAGE_SCHEMAS.RegisterNode.shape.survives,
  /** Of several control planes, the one that the node registered with last: the id of its membership. */
  owner: z.string().optional(),
  /** Which processes have held the identity, for the control plane that the node turns to next. */
  instances: z.object({ current: z.string(), superseded: z.array(z.string()) }).optional(),
});

/**
 * How a node was when that last changed. Written when a node registers and when its liveness changes;
 * heartbeats write nothing.
 */
export type NodeState = z.infer<typeof nodeState>;

/** Where the states of nodes are, in the barrier. */
export const NODE_STATES_PREFIX = "cluster/node-states/";

/** The states of nodes by name. */
export function nodeStates(storage: Storage): RecordCollection<NodeState> {
  return new RecordCollection(storage, NODE_STATES_PREFIX, nodeState);
}

/** The address that people look for: the node's own InternalIP, else where it connects from. */
export function addressOf(status: NodeStatus, remoteHost: string): string {
  return status.addresses.find(({ type }) => type === "InternalIP")?.address ?? remoteHost;
}
