import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { ListPage, RksError, type Clock, type Pod, type PodManifest } from "@rk8s/protocol";
import type { PodKey } from "../pods/pod-host.js";
import type { PodManager } from "../pods/pod-manager.js";
import type { Handlers } from "../session/handlers.js";
import { createPodHandlers } from "../session/pod-handlers.js";
import { isLocal, LOCAL_UID_PREFIX } from "./cluster-pods.js";

/**
 * How the agent answers commands on its own host: the messages of an operator about pods, for this node alone. Pods
 * of the control plane are shown but not deleted here.
 */
export function createLocalHandlers(manager: PodManager, ports: { readonly clock: Clock }): Handlers {
  const { GetPodLogs } = createPodHandlers(manager);
  return {
    ...(GetPodLogs === undefined ? {} : { GetPodLogs }),
    async ApplyPod({ manifest }) {
      const here = manager.find(manifest.metadata);
      if (here === undefined) await manager.apply(newPod(manifest, ports.clock));
      else if (!isSame(here, manifest)) throw alreadyExists(manifest.metadata.name);
      return { type: "Pod", pod: await read(manager, manifest.metadata) };
    },
    async GetPod(key) {
      return { type: "Pod", pod: await read(manager, key) };
    },
    async ListPods({ namespace, after = "" }) {
      const reports = (await manager.list())
        .filter((report) => namespace === undefined || namespace === report.namespace)
        .filter((report) => keyOf(report) > after)
        .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
      const page = new ListPage<Pod>();
      for (const report of reports) {
        const pod = manager.find(report);
        if (pod === undefined) continue;
        if (!page.add({ ...pod, status: report.status })) {
          return { type: "PodList", pods: page.items, next: keyOf(page.items.at(-1)!.metadata) };
        }
      }
      return { type: "PodList", pods: page.items };
    },
    DeletePod({ namespace, name, uid, gracePeriodSeconds }) {
      const here = manager.find({ namespace, name });
      if (here !== undefined && !isLocal(here.metadata.uid)) {
        throw new RksError("PERMISSION_DENIED", `pod "${name}" belongs to the control plane`, {
          suggestion: `Delete it with \`rkl delete pod ${name}\` and an operator token.`,
        });
      }
      // Stopping takes its grace; the command is answered when the deletion has begun, as the control plane does.
      manager.remove({ namespace, name }, { uid, graceSeconds: gracePeriodSeconds }).catch(() => undefined);
      return undefined;
    },
  };
}

/** What pods are listed in the order of. */
function keyOf({ namespace, name }: PodKey): string {
  return `${namespace}/${name}`;
}

async function read(manager: PodManager, key: PodKey): Promise<Pod> {
  const pod = manager.find(key);
  const report = (await manager.list()).find(
    ({ namespace, name }) => namespace === key.namespace && name === key.name,
  );
  if (pod === undefined || report === undefined) {
    throw new RksError("NOT_FOUND", `pod "${key.name}" of namespace "${key.namespace}" is not on this node`, {
      suggestion: "See `rkl pod list`.",
    });
  }
  return { ...pod, status: report.status };
}

function newPod(manifest: PodManifest, clock: Clock): Pod {
  const creationTimestamp = new Date(clock.now()).toISOString();
  const uid = `${LOCAL_UID_PREFIX}${randomUUID()}`;
  return {
    ...manifest,
    metadata: { ...manifest.metadata, uid, creationTimestamp },
    status: { phase: "Pending", containerStatuses: [] },
  };
}

function isSame(pod: Pod, manifest: PodManifest): boolean {
  const { uid: _uid, creationTimestamp: _created, deletionTimestamp: _deleted, ...metadata } = pod.metadata;
  return isDeepStrictEqual(
    { metadata, spec: pod.spec },
    { metadata: manifest.metadata, spec: manifest.spec },
  );
}

function alreadyExists(name: string): RksError {
  return new RksError("ALREADY_EXISTS", `another pod "${name}" is on this node`, {
    suggestion: `Delete it first, or use another name.`,
  });
}
