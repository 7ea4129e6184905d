import type { ContainerState, ContainerStatus, PodSpec, PodStatus } from "@rk8s/protocol";
import type { ContainerRecord } from "../runtime/pod-runtime.js";
import { shouldRestart } from "./restart-policy.js";

/** A pod's phase, decided as the kubelet does (core/v1 PodPhase): from its containers and its restart policy. */
export function podPhase(
  containers: readonly ContainerStatus[],
  policy: PodSpec["restartPolicy"],
): PodStatus["phase"] {
  if (containers.some((each) => each.state.waiting !== undefined && each.lastState === undefined))
    return "Pending";
  const ends = containers.flatMap(({ state, lastState }) => {
    const end = state.terminated ?? (state.waiting === undefined ? undefined : lastState?.terminated);
    return end === undefined ? [] : [end];
  });
  const areAllOver =
    ends.length === containers.length && !ends.some(({ exitCode }) => shouldRestart(policy, exitCode));
  if (!areAllOver) return "Running";
  return ends.every(({ exitCode }) => exitCode === 0) ? "Succeeded" : "Failed";
}

/** The state that a runtime's record stands for; undefined for a container that was never started. */
export function containerStateOf(record: ContainerRecord): ContainerState | undefined {
  const { startedAtMs, finishedAtMs, message } = record;
  if (record.state === "created") return undefined;
  if (record.state === "running") return { running: { startedAt: rfc3339(startedAtMs ?? 0) } };
  return {
    terminated: {
      exitCode: record.exitCode ?? 0,
      reason: record.reason ?? "Error",
      ...(message === undefined ? {} : { message: message.slice(0, 1024) }),
      ...(startedAtMs === undefined ? {} : { startedAt: rfc3339(startedAtMs) }),
      ...(finishedAtMs === undefined ? {} : { finishedAt: rfc3339(finishedAtMs) }),
    },
  };
}

/** A point in time as messages carry it. */
export function rfc3339(ms: number): string {
  return new Date(ms).toISOString();
}
