import { RksError, utf8, type Pod, type PodStatus } from "@rk8s/protocol";
import type { PodHost, PodReport } from "../pods/pod-host.js";
import { StatusQueue } from "../session/status-queue.js";

/** A host that only remembers which pods it was given. */
export class FakePodHost implements PodHost {
  readonly pods = new Map<string, Pod>();
  readonly #changes = new StatusQueue();

  apply(pod: Pod): Promise<void> {
    this.pods.set(pod.metadata.name, pod);
    this.report(pod.metadata.name, "Running");
    return Promise.resolve();
  }

  remove({ name }: { readonly name: string }): Promise<void> {
    this.pods.delete(name);
    return Promise.resolve();
  }

  list(): Promise<readonly PodReport[]> {
    return Promise.resolve([...this.pods.values()].map((pod) => reportOf(pod, "Running")));
  }

  readLogs({
    name,
  }: {
    readonly name: string;
  }): Promise<{ container: string; chunks: AsyncIterable<Uint8Array> }> {
    if (!this.pods.has(name)) throw new RksError("NOT_FOUND", `pod "${name}" is not here`);
    return Promise.resolve({ container: "main", chunks: lines(`hello from ${name}\n`, "bye\n") });
  }

  async *statusChanges({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<PodReport> {
    for (;;) yield await this.#changes.next({ signal });
  }

  report(name: string, phase: PodStatus["phase"]): void {
    this.#changes.add(reportOf(this.pods.get(name) ?? aPod(name), phase));
  }
}

/** A pod as the control plane sends it. */
export function aPod(name: string): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", uid: `uid-${name}`, creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: {
      containers: [{ name: "main", command: ["sleep", "1"] }],
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
    },
    status: { phase: "Pending", containerStatuses: [] },
  };
}

function reportOf(pod: Pod, phase: PodStatus["phase"]): PodReport {
  const { namespace, name, uid } = pod.metadata;
  return { namespace, name, uid, status: { phase, containerStatuses: [] } };
}

async function* lines(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield await Promise.resolve(utf8(text));
}
