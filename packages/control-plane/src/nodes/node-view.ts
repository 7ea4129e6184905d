import type { Node, NodeCondition } from "@rk8s/protocol";
import type { NodeRecord } from "./node-record.js";
import { grantsLeft, NO_RECOVERY } from "./node-recovery.js";
import type { NodeState } from "./node-state.js";
import type { Liveness } from "./liveness.js";

/** A node as `rks node list` shows it. */
export interface NodeSummary {
  readonly name: string;
  readonly status: Liveness | "Banned";
  /** Empty until the node has registered for the first time. */
  readonly address: string;
  readonly certificateSerial: string;
  readonly certificateNotAfter: string;
  readonly lastHeartbeat: string | null;
  readonly joinedAt: string;
  /** Of the agent; empty until the node has registered for the first time. */
  readonly version: string;
}

/** A node as `rks node show` shows it. */
export interface NodeDetails extends NodeSummary {
  readonly uid: string;
  readonly joinTokenId: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Why the node is refused; null while it is not. */
  readonly refusedBecause: string | null;
  /** Of the current certificate: 0 at the first join, one more with each that took its place. */
  readonly certificateGeneration: number;
  /** Issued by a renewal and not used yet. */
  readonly nextCertificateSerial: string | null;
  /** Since when the status is what it is. */
  readonly statusSince: string | null;
  readonly isConnected: boolean;
  /** How far its clock is ahead of this one, behind it when negative; null while it is not connected. */
  readonly clockSkewSeconds: number | null;
  readonly capacity: Readonly<Record<string, string>>;
  readonly conditions: readonly NodeCondition[];
  /** What keeps the node's identity through what, as its agent says; null when it says nothing. "no" is nothing. */
  readonly survives: Readonly<Record<"crash" | "upgrade" | "reboot", string>> | null;
  readonly recovery: NodeRecoveryView;
}

/** What brings a node back when its key is lost, as `rks node show` shows it. */
interface NodeRecoveryView {
  /** The key that the machine keeps; null: none. */
  readonly kind: "tpm" | "ssh-host-key" | null;
  readonly enrolledAt: string | null;
  /** Recoveries without such a key; null: none are granted. */
  readonly grant: {
    readonly recoveries: number;
    readonly windowSeconds: number;
    readonly left: number;
    readonly cidr: string;
  } | null;
  /** How often the node was brought back. */
  readonly sequence: number;
  /** The latest recoveries, newest first. */
  readonly past: readonly { readonly at: string; readonly kind: string; readonly remoteHost: string }[];
}

/** Recoveries that are shown. */
const SHOWN_RECOVERIES = 5;

/** Everything that is known of a node at this moment. */
export interface KnownNode {
  readonly record: NodeRecord;
  /** Undefined until the node has registered for the first time. */
  readonly state: NodeState | undefined;
  readonly liveness: Liveness;
  readonly isConnected: boolean;
  readonly clockSkewSeconds: number | undefined;
}

export function summarizeNode({ record, state, liveness }: KnownNode): NodeSummary {
  return {
    name: record.name,
    status: record.banned === undefined && record.cloned === undefined ? liveness : "Banned",
    address: state?.address ?? "",
    certificateSerial: record.serialNumber,
    certificateNotAfter: record.notAfter,
    lastHeartbeat: state?.lastHeartbeat ?? null,
    joinedAt: record.joinedAt,
    version: state?.version ?? "",
  };
}

export function describeNode(node: KnownNode, now: number): NodeDetails {
  const { record, state, isConnected, clockSkewSeconds } = node;
  return {
    ...summarizeNode(node),
    uid: record.uid,
    joinTokenId: record.tokenId,
    labels: record.labels,
    refusedBecause: record.banned ?? record.cloned ?? null,
    certificateGeneration: record.generation,
    nextCertificateSerial: record.next?.serialNumber ?? null,
    statusSince: state?.since ?? null,
    isConnected,
    clockSkewSeconds: clockSkewSeconds ?? null,
    capacity: state?.status.capacity ?? {},
    conditions: nodeObject(node).status.conditions,
    survives: describeSurvival(node, now),
    recovery: describeRecovery(record, now),
  };
}

function describeSurvival({ record, state }: KnownNode, now: number): NodeDetails["survives"] {
  if (state?.survives === undefined) return null;
  const { recovery = NO_RECOVERY } = record;
  const grant = grantsLeft(recovery, now) > 0 ? "grant" : "no";
  return { ...state.survives, reboot: recovery.key?.kind ?? grant };
}

function describeRecovery({ recovery = NO_RECOVERY }: NodeRecord, now: number): NodeRecoveryView {
  const { key, grant, sequence, past } = recovery;
  return {
    kind: key?.kind ?? null,
    enrolledAt: key?.enrolledAt ?? null,
    grant: grant === undefined ? null : { ...grant, left: grantsLeft(recovery, now) },
    sequence,
    past: past.slice(-SHOWN_RECOVERIES).toReversed(),
  };
}

/** A node in Kubernetes' shape: what it reports, and the control plane's own word on whether it is ready. */
export function nodeObject({ record, state, liveness }: KnownNode): Node {
  const status = state?.status ?? { capacity: {}, allocatable: {}, addresses: [], conditions: [] };
  const others = status.conditions.filter(({ type }) => type !== "Ready" && type !== "CloneSuspected");
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: record.name,
      uid: record.uid,
      creationTimestamp: record.joinedAt,
      labels: record.labels,
      annotations: {
        "rk8s.io/certificate-serial": record.serialNumber,
        "rk8s.io/certificate-not-after": record.notAfter,
      },
    },
    spec: {},
    status: {
      ...status,
      conditions: [...others, readyCondition(state, liveness), ...cloneConditions(record)],
    },
  };
}

/** Only a node that gave cause has it: somebody else seems to hold an identity of it. */
function cloneConditions({ cloned, cloneAlarm }: NodeRecord): NodeCondition[] {
  if (cloneAlarm === undefined) return [];
  const { at, serialNumber, remoteHost } = cloneAlarm;
  const reason = cloned === undefined ? "OlderCertificatePresented" : "TwoProcesses";
  const message = cloned ?? `${remoteHost} presented the replaced certificate ${serialNumber} at ${at}`;
  return [{ type: "CloneSuspected", status: "True", reason, message, lastTransitionTime: at }];
}

/** What the control plane says of a node's readiness, in Kubernetes' words. */
const READY_CONDITIONS: Readonly<Record<Liveness, Omit<NodeCondition, "type">>> = {
  Ready: { status: "True", reason: "AgentReady", message: "the agent is running" },
  NotReady: { status: "False", reason: "AgentNotReady", message: "no recent heartbeat of a healthy agent" },
  Unknown: { status: "Unknown", reason: "NodeStatusUnknown", message: "the agent is silent" },
};

function readyCondition(state: NodeState | undefined, liveness: Liveness): NodeCondition {
  if (state === undefined) {
    const message = "the node has not registered yet";
    return { type: "Ready", status: "Unknown", reason: "NodeStatusNeverUpdated", message };
  }
  const times = { lastHeartbeatTime: state.lastHeartbeat, lastTransitionTime: state.since };
  return { type: "Ready", ...READY_CONDITIONS[liveness], ...times };
}
