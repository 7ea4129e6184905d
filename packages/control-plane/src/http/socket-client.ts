import { assertSocketPath } from "@rk8s/host";
import { type ClusterClient, clusterClient } from "./cluster-client.js";
import { timedOut, unreachable } from "./socket-failure.js";

const ANSWER_TIMEOUT_MS = 10_000;

/** A client for the socket at a path; nothing is opened before the first request. */
export function openSocketClient(
  path: string,
  options: { readonly startCommand?: string; readonly timeoutMs?: number } = {},
): ClusterClient {
  const startCommand = options.startCommand ?? "rks start --config FILE";
  const timeoutMs = options.timeoutMs ?? ANSWER_TIMEOUT_MS;
  return clusterClient({
    base: { socketPath: path },
    isTls: false,
    timeoutMs,
    timedOut: () => timedOut(path, timeoutMs),
    failed: (cause) => unreachable(path, startCommand, cause),
    check: () => assertSocketPath(path),
  });
}
