import type { Node, Pod } from "@rk8s/protocol";
import { formatAge } from "./output.js";

export interface RowOptions {
  readonly nowMs: number;
  readonly isWide: boolean;
}

export const POD_HEADINGS = ["NAME", "READY", "STATUS", "NODE", "RESTARTS", "AGE"] as const;
export const WIDE_POD_HEADINGS = [...POD_HEADINGS, "NAMESPACE", "IP", "UID"] as const;
export const NODE_HEADINGS = ["NAME", "STATUS", "ADDRESS", "AGE", "VERSION"] as const;
export const WIDE_NODE_HEADINGS = [
  ...NODE_HEADINGS,
  "OS-IMAGE",
  "KERNEL",
  "RUNTIME",
  "CPU",
  "MEMORY",
] as const;

/** A pod as one line of a table. */
export function podRow(pod: Pod, { nowMs, isWide }: RowOptions): string[] {
  const { metadata, spec, status } = pod;
  const ready = status.containerStatuses.filter((each) => each.ready).length;
  const restarts = status.containerStatuses.reduce((sum, each) => sum + each.restartCount, 0);
  const row = [
    metadata.name,
    `${ready}/${spec.containers.length}`,
    podSummary(pod),
    spec.nodeName ?? "-",
    String(restarts),
    formatAge(metadata.creationTimestamp, nowMs),
  ];
  return isWide ? [...row, metadata.namespace, status.podIP ?? status.hostIP ?? "-", metadata.uid] : row;
}

/** What kubectl shows as STATUS: what keeps a container from running, else the phase. */
function podSummary(pod: Pod): string {
  const { metadata, status } = pod;
  if (metadata.deletionTimestamp !== undefined) return "Terminating";
  if (status.reason !== undefined && status.reason !== "") return status.reason;
  for (const { state } of status.containerStatuses) {
    if (state.waiting !== undefined) return state.waiting.reason;
    if (state.terminated !== undefined && status.phase !== "Running") return state.terminated.reason;
  }
  return status.phase;
}

/** A node as one line of a table. */
export function nodeRow(node: Node, { nowMs, isWide }: RowOptions): string[] {
  const { metadata, spec, status } = node;
  const row = [
    metadata.name,
    nodeSummary(node) + (spec.unschedulable === true ? ",SchedulingDisabled" : ""),
    status.addresses.find(({ type }) => type === "InternalIP")?.address ?? "-",
    formatAge(metadata.creationTimestamp, nowMs),
    status.nodeInfo?.kubeletVersion ?? "-",
  ];
  if (!isWide) return row;
  const { nodeInfo, capacity } = status;
  return [
    ...row,
    nodeInfo?.osImage || "-",
    nodeInfo?.kernelVersion || "-",
    nodeInfo?.containerRuntimeVersion || "-",
    capacity["cpu"] ?? "-",
    capacity["memory"] ?? "-",
  ];
}

function nodeSummary(node: Node): string {
  const ready = node.status.conditions.find(({ type }) => type === "Ready");
  if (ready?.status === "True") return "Ready";
  return ready?.status === "False" ? "NotReady" : "Unknown";
}
