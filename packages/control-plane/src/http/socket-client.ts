import { assertSocketPath } from "@rk8s/host";
import { RksError } from "@rk8s/protocol";
import { type ClusterClient, clusterDocument } from "./cluster-client.js";
import { sendRequest } from "./send-request.js";
import { timedOut, unreachable } from "./socket-failure.js";

const ANSWER_TIMEOUT_MS = 10_000;

/** A client for the socket at a path; nothing is opened before the first request. */
export function openSocketClient(
  path: string,
  options: { readonly startCommand?: string; readonly timeoutMs?: number } = {},
): ClusterClient {
  const startCommand = options.startCommand ?? "rks start --config FILE";
  const timeoutMs = options.timeoutMs ?? ANSWER_TIMEOUT_MS;
  return {
    async request(method, target, body) {
      assertSocketPath(path);
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers = text === undefined ? {} : { "content-type": "application/json" };
      try {
        const answer = await sendRequest({
          options: { socketPath: path, method, path: target, headers },
          isTls: false,
          body: text,
          timeoutMs,
          timedOut: () => timedOut(path, timeoutMs),
        });
        return clusterDocument(answer);
      } catch (cause) {
        throw cause instanceof RksError ? cause : unreachable(path, startCommand, cause);
      }
    },
  };
}
