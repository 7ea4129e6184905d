import { LIMITS, RksError, type ErrorCode, type NodeStatus } from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";
import type { PodHost } from "../pods/pod-host.js";
import type { AgentPorts } from "../ports.js";
import type { RksConnection } from "./connection.js";
import { serveRequests } from "./dispatch.js";
import type { Handlers } from "./handlers.js";
import type { NodeFacts } from "./node-facts.js";
import { errorOfEnd } from "./refusal.js";
import type { StatusQueue } from "./status-queue.js";

export interface SessionInit {
  /** Of role `node`. It stays the caller's. */
  readonly identity: Identity;
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  readonly handlers: Handlers;
  /** The agent's version, as it is reported. */
  readonly version: string;
}

export interface SessionPorts extends AgentPorts {
  readonly facts: NodeFacts;
  /** None for an agent that runs no pods. */
  readonly pods: PodHost | undefined;
}

export interface ServeNodeOptions extends SessionPorts {
  readonly statuses: StatusQueue;
  readonly signal: AbortSignal;
  readonly onRegistered: (heartbeatIntervalMs: number) => void;
}

/** How long the good-bye of a stopping agent may take. */
const STOPPING_TIMEOUT_MS = 2000;

/** A control plane that is busy or sealed for a moment gets the status again after this. */
const STATUS_RETRY_MS = 1000;
/** Codes that say nothing about the request itself. */
const CONNECTION_TROUBLE: ReadonlySet<ErrorCode> = new Set(["CONNECTION_LOST", "TIMED_OUT", "STREAM_RESET"]);

/** A connection's life as a node: everything that runs on it, and what it runs with. */
interface NodeLink {
  readonly connection: RksConnection;
  readonly init: SessionInit;
  readonly options: ServeNodeOptions;
  /** Aborted when the connection has ended, when anything on it failed, or when the agent stops. */
  readonly signal: AbortSignal;
}

/**
 * Be a node on one connection: register, then send heartbeats and pod statuses and answer requests, until the signal
 * is aborted. Then the control plane is told that the agent stops.
 * @throws {RksError} why the connection ended, or what registration or a heartbeat was refused with.
 */
export async function serveNode(
  connection: RksConnection,
  init: SessionInit,
  options: ServeNodeOptions,
): Promise<void> {
  const end = new AbortController();
  const stop = (): void => end.abort(options.signal.reason);
  options.signal.addEventListener("abort", stop, { once: true });
  if (options.signal.aborted) stop();
  const link: NodeLink = { connection, init, options, signal: end.signal };
  let registered = false;
  try {
    const heartbeat = await register(link);
    registered = true;
    options.onRegistered(heartbeat.intervalMs);
    await firstFailure(
      [
        connection.ended.then((reason) => Promise.reject(errorOfEnd(reason))),
        sendHeartbeats(link, heartbeat),
        sendStatuses(link),
        serveRequests(connection.incomingStreams(), init.handlers, { ...options, signal: end.signal }),
      ],
      end,
    );
  } catch (error) {
    if (!options.signal.aborted) throw error;
  } finally {
    options.signal.removeEventListener("abort", stop);
    end.abort();
  }
  if (registered) await sayGoodBye(connection, options);
}

interface HeartbeatTerms {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

async function register(link: NodeLink): Promise<HeartbeatTerms> {
  const { connection, init, options, signal } = link;
  options.statuses.clear();
  const pods = (await options.pods?.list()) ?? [];
  const registered = await connection.request(
    {
      type: "RegisterNode",
      nodeName: init.identity.nodeName,
      version: init.version,
      status: await readStatus(link),
      pods: pods.slice(0, LIMITS.maxPodsPerNode).map(({ namespace, name, uid, status }) => ({
        namespace,
        name,
        uid,
        status,
      })),
    },
    "Registered",
    { signal },
  );
  const graceMs = registered.heartbeatGraceSeconds * 1000;
  return {
    intervalMs: registered.heartbeatIntervalSeconds * 1000,
    timeoutMs: Math.min(LIMITS.requestTimeoutMs, graceMs),
  };
}

async function readStatus(link: NodeLink): Promise<NodeStatus> {
  return link.options.facts.read({
    nodeName: link.init.identity.nodeName,
    localAddress: link.connection.localAddress,
  });
}

async function sendHeartbeats(link: NodeLink, terms: HeartbeatTerms): Promise<never> {
  const { connection, options, signal } = link;
  for (;;) {
    await options.clock.sleep(terms.intervalMs, { signal });
    const status = await readStatus(link);
    try {
      await connection.request({ type: "Heartbeat", status }, "Ack", { signal, timeoutMs: terms.timeoutMs });
    } catch (reason) {
      const error = RksError.from(reason);
      if (endsConnection(error, link) || !error.retryable) throw error;
      options.logger.warn("Heartbeat refused", { code: error.code, reason: error.message });
    }
  }
}

async function sendStatuses(link: NodeLink): Promise<never> {
  const { connection, options, signal } = link;
  for (;;) {
    const report = await options.statuses.next({ signal });
    const { namespace, name, uid, status } = report;
    try {
      await connection.request({ type: "UpdatePodStatus", namespace, name, uid, status }, "Ack", { signal });
    } catch (reason) {
      const error = RksError.from(reason);
      if (endsConnection(error, link)) throw error;
      options.logger.warn("Pod status refused", { namespace, name, code: error.code, reason: error.message });
      if (!error.retryable) continue;
      options.statuses.restore(report);
      await options.clock.sleep(STATUS_RETRY_MS, { signal });
    }
  }
}

/** Failures after which the connection cannot be relied on any more. */
function endsConnection(error: RksError, link: NodeLink): boolean {
  return link.signal.aborted || CONNECTION_TROUBLE.has(error.code);
}

/** Wait for all; the first that fails ends the others, and is what this throws. */
async function firstFailure(tasks: readonly Promise<unknown>[], end: AbortController): Promise<void> {
  let failure: { readonly reason: unknown } | undefined;
  const guarded = tasks.map(async (task) => {
    try {
      await task;
    } catch (reason) {
      failure ??= { reason };
      end.abort(reason);
    }
  });
  await Promise.race([Promise.all(guarded), aborted(end.signal)]);
  if (failure !== undefined) throw failure.reason as Error;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

async function sayGoodBye(connection: RksConnection, options: ServeNodeOptions): Promise<void> {
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
