import { RksError } from "@rk8s/protocol";
import type { PodHost } from "../pods/pod-host.js";
import type { Handlers } from "./handlers.js";

/** A follower holds a stream for as long as its pod runs; half of the streams stay free for everything else. */
const MAX_LOG_READERS = 32;

/** How a node answers the control plane about pods. */
export function createPodHandlers(pods: PodHost): Handlers {
  let logReaders = 0;

  return {
    async CreatePod({ pod }) {
      await pods.apply(pod);
    },
    async DeletePod({ namespace, name, uid, gracePeriodSeconds }) {
      await pods.remove({ namespace, name }, { uid, graceSeconds: gracePeriodSeconds });
    },
    async GetPodLogs({ namespace, name, container, follow, tailLines }, { signal }) {
      if (logReaders >= MAX_LOG_READERS) {
        throw new RksError("BUSY", `${logReaders} readers of logs are served already`, {
          suggestion: "Try again when one of them has ended.",
        });
      }
      const logs = await pods.readLogs({ namespace, name }, { container, follow, tailLines, signal });
      const message = { type: "PodLogs", container: logs.container } as const;
      return { message, bytes: counted(logs.chunks) };
    },
  };

  async function* counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    logReaders++;
    try {
      yield* chunks;
    } finally {
      logReaders--;
    }
  }
}

/** What a node without a runtime answers: it is in the cluster, but runs nothing. */
export const NO_POD_HANDLERS: Handlers = {
  CreatePod() {
    throw new RksError("UNSUPPORTED", "this agent has no runtime and runs no pods", {
      suggestion: "Start the agent with a runtime, or give the pod another node.",
    });
  },
  // What was never here is gone.
  DeletePod() {},
};
