import { RksError, type SocketAddress } from "@rk8s/protocol";
import { backoffMs } from "../bootstrap/backoff.js";
import type { Identity } from "../identity/identity.js";
import type { PodHost, PodReport } from "../pods/pod-host.js";
import type { AgentPorts } from "../ports.js";
import { connect } from "./connect.js";
import { isFinalForSession, withRemedy } from "./refusal.js";
import { serveNode, type SessionInit, type SessionPorts } from "./serve-node.js";
import { StatusQueue } from "./status-queue.js";

/** Where a node's session with the control plane stands. Only `runSession` moves it. */
export type SessionState =
  | { readonly kind: "connecting"; readonly attempt: number }
  | { readonly kind: "registering"; readonly remoteAddress: SocketAddress }
  | { readonly kind: "ready"; readonly heartbeatIntervalMs: number }
  | {
      readonly kind: "waiting";
      /** Retries so far, from 1. */
      readonly attempt: number;
      readonly delayMs: number;
      readonly error: RksError;
      /** Whether there was a connection before. */
      readonly wasConnected: boolean;
    }
  | { readonly kind: "stopped" };

export interface SessionOptions {
  /** Ends the session in peace: the control plane is told, pods keep running. */
  readonly signal: AbortSignal;
  /** Called with every state, in order. */
  readonly onState: (state: SessionState) => void;
  /** Called with every change of a pod's status, connected or not. */
  readonly onPodStatus?: ((report: PodReport) => void) | undefined;
}

/** A connection that was up this long was a good one: the next pause is a short one again. */
const STABLE_MS = 10_000;

/**
 * Keep a node connected and registered until `signal` is aborted, reconnecting with the same identity whenever the
 * connection is lost.
 * @throws {RksError} CERTIFICATE_EXPIRED when the certificate's time is over, or what the control plane refused this
 * node with for good (NODE_BANNED, NODE_EVICTED, CERTIFICATE_REVOKED, CLIENT_CERTIFICATE_REFUSED …).
 */
export async function runSession(
  init: SessionInit,
  ports: SessionPorts,
  options: SessionOptions,
): Promise<void> {
  const { clock } = ports;
  const statuses = new StatusQueue();
  const life = new AbortController();
  const signal = AbortSignal.any([options.signal, life.signal]);
  let broken: { readonly reason: unknown } | undefined;
  const side = Promise.all([
    collectStatuses(ports.pods, signal, (report) => {
      statuses.add(report);
      options.onPodStatus?.(report);
    }),
    warnOfExpiry(init.identity, ports, signal),
  ]).catch((reason: unknown) => {
    broken = { reason };
    life.abort(reason);
  });
  try {
    let failures = 0;
    while (!signal.aborted) {
      options.onState({ kind: "connecting", attempt: failures });
      const { error, wasConnected, readyMs } = await attempt(init, ports, { ...options, signal, statuses });
      if (signal.aborted) break;
      if (isFinalForSession(error)) throw withRemedy(error, init.identity.nodeName);
      if (readyMs >= STABLE_MS) failures = 0;
      const delayMs = backoffMs(failures, ports.random);
      failures++;
      options.onState({ kind: "waiting", attempt: failures, delayMs, error, wasConnected });
      await clock.sleep(delayMs, { signal }).catch(() => undefined);
    }
  } finally {
    life.abort();
    await side;
    options.onState({ kind: "stopped" });
  }
  if (broken !== undefined) throw RksError.from(broken.reason);
}

/** How one connection ended. */
interface Attempt {
  readonly error: RksError;
  readonly wasConnected: boolean;
  /** How long the node was registered on it. */
  readonly readyMs: number;
}

/** Connect and serve until the connection ends, for whatever reason. Never rejects. */
async function attempt(
  init: SessionInit,
  ports: SessionPorts,
  options: SessionOptions & { readonly statuses: StatusQueue },
): Promise<Attempt> {
  const { clock, logger } = ports;
  const { signal, statuses, onState } = options;
  let wasConnected = false;
  let readySinceMs: number | undefined;
  try {
    await using connection = await connect({ ...ports, ...init, signal });
    wasConnected = true;
    onState({ kind: "registering", remoteAddress: connection.remoteAddress });
    await serveNode(connection, init, {
      ...ports,
      statuses,
      signal,
      onRegistered: (heartbeatIntervalMs) => {
        readySinceMs = clock.monotonicMs();
        onState({ kind: "ready", heartbeatIntervalMs });
      },
    });
    throw new RksError("CONNECTION_LOST", "the agent ended the connection");
  } catch (reason) {
    const error = RksError.from(reason);
    if (error.code === "INTERNAL" && !signal.aborted) logger.error("Session failed", { cause: error.cause });
    const readyMs = readySinceMs === undefined ? 0 : clock.monotonicMs() - readySinceMs;
    return { error, wasConnected, readyMs };
  }
}

/** Take every change of a pod's status from its source, connected or not. Ends with the signal. */
async function collectStatuses(
  pods: PodHost | undefined,
  signal: AbortSignal,
  onStatus: (report: PodReport) => void,
): Promise<void> {
  if (pods === undefined) return;
  try {
    for await (const report of pods.statusChanges({ signal })) onStatus(report);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Say once, at two thirds of the lifetime, that the certificate will not live for ever. */
async function warnOfExpiry(identity: Identity, ports: AgentPorts, signal: AbortSignal): Promise<void> {
  const { clock, logger } = ports;
  try {
    await clock.sleep(Math.max(0, identity.renewAfter.getTime() - clock.now()), { signal });
  } catch {
    return;
  }
  logger.warn("Certificate expires soon", {
    node: identity.nodeName,
    serial: identity.serialNumber,
    notAfter: identity.notAfter.toISOString(),
    remedy: `rks node rejoin ${identity.nodeName}`,
  });
}
