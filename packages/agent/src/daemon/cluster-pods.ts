import { RksError, type Pod } from "@rk8s/protocol";
import type { PodHost, PodReport } from "../pods/pod-host.js";
import type { PodManager } from "../pods/pod-manager.js";

/** Begins the uid of a pod that was made on this host, by `rkl pod create`, and that the control plane does not know. */
export const LOCAL_UID_PREFIX = "local-";

/** Whether a pod is this host's own. */
export function isLocal(uid: string): boolean {
  return uid.startsWith(LOCAL_UID_PREFIX);
}

/**
 * The pods of this host as the control plane sees them: those that it sent. A pod that was made here is neither
 * reported nor touched; its name is taken.
 */
export function clusterPods(manager: PodManager): PodHost {
  return {
    async apply(pod: Pod) {
      const here = manager.find(pod.metadata);
      if (here !== undefined && isLocal(here.metadata.uid)) {
        throw new RksError(
          "ALREADY_EXISTS",
          `a pod "${pod.metadata.name}" was made on this host by \`rkl pod create\``,
          {
            suggestion: `Delete it there with \`rkl pod delete ${pod.metadata.name}\`, or use another name.`,
          },
        );
      }
      await manager.apply(pod);
    },
    async remove(key, options) {
      const here = manager.find(key);
      if (here === undefined || !isLocal(here.metadata.uid)) await manager.remove(key, options);
    },
    list: async () => (await manager.list()).filter(({ uid }) => !isLocal(uid)),
    async readLogs(key, options) {
      return manager.readLogs(key, options);
    },
    async *statusChanges(options): AsyncGenerator<PodReport, void, undefined> {
      for await (const report of manager.statusChanges(options)) if (!isLocal(report.uid)) yield report;
    },
  };
}
