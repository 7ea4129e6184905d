import { formatJoinToken, type JoinToken } from "../join-token.js";
import type { Message, MessageBody } from "../message.js";
import type { Node, NodeStatus } from "../node.js";
import type { Pod, PodManifest, PodStatus } from "../pod.js";
import { Secret } from "../secret.js";

const A_TIME = "2026-01-01T00:00:00Z";

/** What an idle worker says of itself. */
export function aNodeStatus(fields: Partial<NodeStatus> = {}): NodeStatus {
  return {
    capacity: { cpu: "4", memory: "8Gi", pods: "110" },
    allocatable: { cpu: "4", memory: "7Gi", pods: "110" },
    addresses: [
      { type: "InternalIP", address: "192.0.2.1" },
      { type: "Hostname", address: "worker-1" },
    ],
    conditions: [
      {
        type: "Ready",
        status: "True",
        reason: "AgentReady",
        lastHeartbeatTime: A_TIME,
        lastTransitionTime: A_TIME,
      },
    ],
    ...fields,
  };
}

/** A node as the control plane shows it. */
export function aNode(fields: { readonly name?: string; readonly status?: NodeStatus } = {}): Node {
  const { name = "worker-1", status = aNodeStatus() } = fields;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, uid: `uid-of-${name}`, creationTimestamp: A_TIME },
    spec: {},
    status,
  };
}

/** What the builders of pods can vary. */
export interface PodFields {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly nodeName?: string;
  readonly command?: readonly string[];
  readonly restartPolicy?: PodManifest["spec"]["restartPolicy"];
  readonly status?: PodStatus;
}

/** A manifest of one container that sleeps. */
export function aPodManifest(fields: PodFields = {}): PodManifest {
  const {
    name = "web",
    namespace = "default",
    command = ["sleep", "3600"],
    restartPolicy = "Always",
  } = fields;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace },
    spec: {
      ...(fields.nodeName === undefined ? {} : { nodeName: fields.nodeName }),
      containers: [{ name: "main", command: [...command] }],
      restartPolicy,
      terminationGracePeriodSeconds: 30,
    },
  };
}

/** A pod's status in some phase, without containers. */
export function aPodStatus(fields: Partial<PodStatus> = {}): PodStatus {
  return { phase: "Pending", containerStatuses: [], ...fields };
}

/** A pod as the control plane keeps it. */
export function aPod(fields: PodFields = {}): Pod {
  const manifest = aPodManifest(fields);
  const { uid = `uid-of-${manifest.metadata.name}`, status = aPodStatus() } = fields;
  return { ...manifest, metadata: { ...manifest.metadata, uid, creationTimestamp: A_TIME }, status };
}

/** A join token with made-up bytes: the id 0101010101010101, a seed of 2s and a pin of 3s. */
export function aJoinToken(fields: Partial<JoinToken> = {}): JoinToken {
  return {
    id: "0101010101010101",
    seed: new Secret(new Uint8Array(32).fill(2)),
    rootSpkiSha256: new Uint8Array(32).fill(3),
    ...fields,
  };
}

/** `aJoinToken` as text. */
export function aJoinTokenText(fields: Partial<JoinToken> = {}): string {
  return formatJoinToken(aJoinToken(fields));
}

/** A Hello with a nonce of 4s. */
export function aHello(fields: Partial<MessageBody<"Hello">> = {}): Message<"Hello"> {
  return { type: "Hello", versions: [1], features: [], nonce: new Uint8Array(32).fill(4), ...fields };
}

/** A Welcome with a nonce of 5s. */
export function aWelcome(fields: Partial<MessageBody<"Welcome">> = {}): Message<"Welcome"> {
  return {
    type: "Welcome",
    version: 1,
    features: [],
    nonce: new Uint8Array(32).fill(5),
    serverTime: A_TIME,
    limits: { maxMessageBytes: 1_048_576 },
    ...fields,
  };
}
