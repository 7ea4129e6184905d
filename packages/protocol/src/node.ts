import { z } from "zod";
import { RksError } from "./errors.js";
import { label, list, map, stringMap, text, timestamp } from "./schema.js";

/** Names that no node may have: they stand for the control plane and its operators. */
const RESERVED_NODE_NAMES = ["localhost", "operator"] as const;

/**
 * Check a node name: RFC 1123 label, lower case, 1 to 63 characters; not `localhost`, not `operator`, not
 * beginning with `rks`.
 * @throws {RksError} NODE_NAME_INVALID.
 */
export function assertNodeName(name: string): void {
  const problem = nodeNameProblem(name);
  if (problem !== undefined) {
    throw new RksError("NODE_NAME_INVALID", `node name ${JSON.stringify(name.slice(0, 80))} ${problem}`, {
      suggestion:
        "Choose another name with --node-name: 1 to 63 lower-case letters, digits and inner hyphens.",
    });
  }
}

function nodeNameProblem(name: string): string | undefined {
  if (!label.safeParse(name).success) return "is not a lower-case RFC 1123 label";
  if (name.startsWith("rks") || RESERVED_NODE_NAMES.some((reserved) => reserved === name))
    return "is reserved";
  return undefined;
}

const quantities = map(z.string().min(1).max(64), z.string().max(64), 64);

const nodeCondition = z.object({
  type: text(64),
  status: z.enum(["True", "False", "Unknown"]),
  reason: z.string().max(128).optional(),
  message: z.string().max(1024).optional(),
  lastHeartbeatTime: timestamp.optional(),
  lastTransitionTime: timestamp.optional(),
});
export type NodeCondition = z.infer<typeof nodeCondition>;

/** What a node says of itself, in Kubernetes' words (core/v1 NodeStatus). */
export const nodeStatus = z.object({
  capacity: quantities,
  allocatable: quantities,
  addresses: list(z.object({ type: text(32), address: text(253) }), 64),
  conditions: list(nodeCondition, 32),
  nodeInfo: z
    .object({
      operatingSystem: z.string().max(64),
      architecture: z.string().max(64),
      kernelVersion: z.string().max(128),
      osImage: z.string().max(256),
      machineID: z.string().max(64),
      bootID: z.string().max(64),
      /** Version of the agent. */
      kubeletVersion: z.string().max(64),
      containerRuntimeVersion: z.string().max(128),
    })
    .optional(),
});
export type NodeStatus = z.infer<typeof nodeStatus>;

/** A node as `rkl get nodes` shows it (core/v1 Node). */
export const node = z.object({
  apiVersion: z.literal("v1"),
  kind: z.literal("Node"),
  metadata: z.object({
    name: label,
    uid: text(64),
    creationTimestamp: timestamp,
    labels: stringMap.optional(),
    annotations: stringMap.optional(),
  }),
  spec: z.object({ unschedulable: z.boolean().optional() }),
  status: nodeStatus,
});
export type Node = z.infer<typeof node>;
