import { LinkedAbort, RksError, type ErrorCode } from "@rk8s/protocol";
import type { AgentPorts } from "../ports.js";
import { keepRenewed, type RenewalInit } from "../renewal/keep-renewed.js";
import { isAboutCertificate } from "./refusal.js";
import type { NodeLink } from "./node-link.js";
import type { Serving } from "./serving.js";
import type { StatusQueue } from "./status-queue.js";

export interface ServeNodeOptions extends AgentPorts {
  readonly renewal: RenewalInit;
  readonly statuses: StatusQueue;
  /** Ends the service in peace. */
  readonly signal: AbortSignal;
}

/** How long the good-bye of a stopping agent may take. */
const STOPPING_TIMEOUT_MS = 2000;
/** A control plane that is busy or sealed for a moment gets the status again after this. */
const STATUS_RETRY_MS = 1000;
/** Codes that say nothing about the request itself. */
const CONNECTION_TROUBLE: ReadonlySet<ErrorCode> = new Set(["CONNECTION_LOST", "TIMED_OUT", "STREAM_RESET"]);

/** A node's service: what it is done over, and what it runs with. */
interface Service {
  readonly serving: Serving;
  readonly options: ServeNodeOptions;
  /** Aborted when anything has failed, or when the agent stops. */
  readonly signal: AbortSignal;
}

/**
 * Be a node: send heartbeats and pod statuses and keep the certificate renewed, over the connection on which it has
 * registered and over those that replace it, until the signal is aborted. Then the control plane is told that the agent
 * stops. Every connection is closed at the end.
 * @throws {RksError} why the connection ended that served the node, or what a heartbeat was refused with.
 */
export async function serveNode(serving: Serving, options: ServeNodeOptions): Promise<void> {
  const end = new AbortController();
  const stop = (): void => end.abort(options.signal.reason);
  options.signal.addEventListener("abort", stop, { once: true });
  if (options.signal.aborted) stop();
  const service: Service = { serving, options, signal: end.signal };
  try {
    await untilFailure(
      [
        serving.broken,
        sendHeartbeats(service),
        sendStatuses(service),
        keepRenewed(serving, options.renewal, { ...options, signal: end.signal }),
      ],
      end,
    );
  } catch (reason) {
    if (!options.signal.aborted) throw forNewestCertificate(RksError.from(reason), service);
  } finally {
    options.signal.removeEventListener("abort", stop);
    end.abort();
    if (options.signal.aborted) await sayGoodBye(serving.link, options);
    await serving.close();
  }
}

/** What is said of an older certificate than the newest does not end the node. */
function forNewestCertificate(error: RksError, { serving, options }: Service): RksError {
  const isNewest = serving.link.identity === options.renewal.holder.newest;
  if (isNewest || !isAboutCertificate(error)) return error;
  return new RksError("CONNECTION_LOST", `the connection of an older certificate ended: ${error.message}`, {
    cause: error,
  });
}

async function sendHeartbeats(service: Service): Promise<never> {
  const { serving, options, signal } = service;
  for (;;) {
    await options.clock.sleep(serving.link.heartbeatIntervalMs, { signal });
    const { link } = serving;
    const { heartbeatTimeoutMs: timeoutMs } = link;
    try {
      // What the machine is was said at registration; without it a heartbeat fits into one datagram.
      const { nodeInfo: _, ...status } = await link.status();
      await link.connection.request({ type: "Heartbeat", status }, "Ack", {
        signal,
        timeoutMs,
      });
    } catch (reason) {
      const error = RksError.from(reason);
      // Registration over the connection that replaced it was as good as a heartbeat.
      if (!signal.aborted && link !== serving.link) continue;
      if (endsConnection(error, service) || !error.retryable) throw error;
      options.logger.warn("Heartbeat refused", { code: error.code, reason: error.message });
    }
  }
}

async function sendStatuses(service: Service): Promise<never> {
  const { serving, options, signal } = service;
  const { statuses, logger, clock } = options;
  for (;;) {
    const report = await statuses.next({ signal });
    const { namespace, name, uid, status } = report;
    let handover: AbortSignal | undefined;
    try {
      await serving.exclusive(async (preempted) => {
        handover = preempted;
        const message = { type: "UpdatePodStatus", namespace, name, uid, status } as const;
        using life = new LinkedAbort(signal, preempted);
        return await serving.link.connection.request(message, "Ack", { signal: life.signal });
      });
    } catch (reason) {
      const error = RksError.from(reason);
      if (handover?.aborted === true && !signal.aborted) {
        // Registration reports it, too; but that may fail.
        statuses.restore(report);
        continue;
      }
      if (endsConnection(error, service)) throw error;
      logger.warn("Pod status refused", { namespace, name, code: error.code, reason: error.message });
      if (!error.retryable) continue;
      statuses.restore(report);
      await clock.sleep(STATUS_RETRY_MS, { signal });
    }
  }
}

/** Failures after which the connection cannot be relied on any more. */
function endsConnection(error: RksError, { signal }: Service): boolean {
  return signal.aborted || CONNECTION_TROUBLE.has(error.code);
}

/**
 * Wait for the first failure, which ends the other tasks and is what this throws. All but the first task, which is
 * only looked at, are over then.
 */
async function untilFailure(
  [looked, ...tasks]: readonly [Promise<never>, ...Promise<never>[]],
  end: AbortController,
): Promise<void> {
  looked.catch((reason: unknown) => end.abort(reason));
  await Promise.all(tasks.map(async (task) => task.catch((reason: unknown) => end.abort(reason))));
  throw end.signal.reason as Error;
}

async function sayGoodBye({ connection }: NodeLink, options: ServeNodeOptions): Promise<void> {
  try {
    await connection.request(
      { type: "NodeStopping", reason: "the agent stops; its pods keep running" },
      "Ack",
      {
        timeoutMs: STOPPING_TIMEOUT_MS,
      },
    );
  } catch (reason) {
    const { code, message } = RksError.from(reason);
    options.logger.debug("Good-bye was not heard", { code, reason: message });
  }
}
