import { LinkedAbort, RksError, type SocketAddress } from "@rk8s/protocol";
import type { RksAddresses } from "../bootstrap/rks-addresses.js";
import { ServerClock } from "../clock-watch/server-clock.js";
import type { Identity } from "../identity/identity.js";
import type { IdentityHolder } from "../identity/identity-holder.js";
import type { PodHost, PodReport } from "../pods/pod-host.js";
import { inTime, openInTime } from "../renewal/in-time.js";
import type { RenewalInit } from "../renewal/keep-renewed.js";
import type { RenewalDemand } from "../renewal/renewal-demand.js";
import { connectNewest } from "./connect-newest.js";
import type { RksConnection } from "./connection.js";
import type { Handlers } from "./handlers.js";
import { MovedReplies } from "./moved-replies.js";
import { NodeLink, type NodeLinkPorts } from "./node-link.js";
import { certificateExpired, isFinalForSession, withRemedy } from "./refusal.js";
import { RetryPauses } from "./retry-pauses.js";
import { serveNode } from "./serve-node.js";
import { Serving } from "./serving.js";
import type { Survival } from "../supervisor/link.js";
import { StatusQueue } from "./status-queue.js";

export interface SessionInit {
  /** Of role `node`. It stays the caller's. */
  readonly holder: IdentityHolder;
  /** Demands to renew the certificate before its time. */
  readonly demand: RenewalDemand;
  readonly addresses: RksAddresses;
  readonly handlers: Handlers;
  /** The agent's version, as it is reported. */
  readonly version: string;
  /** See `NodeLinkInit`. */
  readonly machineIdSha256?: Uint8Array | undefined;
  /** See `NodeLinkInit`. */
  readonly survives?: Survival | undefined;
}

/** What the control plane knows the node by. */
export interface CertificateInUse {
  readonly identity: Identity;
  /** Counted from 0 at the node's first join; undefined when the control plane does not say. */
  readonly generation: number | undefined;
  /** By how much this host's clock is ahead of the control plane's, behind it when negative. */
  readonly clockSkewMs: number;
  /** When it is renewed, by this host's clock. */
  readonly renewAt: Date;
}

/** Where a node's session with the control plane stands. Only `runSession` moves it. */
export type SessionState =
  | { readonly kind: "connecting"; readonly attempt: number }
  | { readonly kind: "registering"; readonly remoteAddress: SocketAddress }
  | ({ readonly kind: "ready"; readonly heartbeatIntervalMs: number } & CertificateInUse)
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
  /** Called with every state, in order. A renewal changes none. */
  readonly onState: (state: SessionState) => void;
  /** Called when the node was handed over to a connection with a newer certificate. */
  readonly onRenewed?: ((certificate: CertificateInUse) => void) | undefined;
  /** Called with every change of a pod's status, connected or not. */
  readonly onPodStatus?: ((report: PodReport) => void) | undefined;
  /** Called with every connection on which the node has registered. Never rejects; nobody waits for it. */
  readonly onRegistered?: ((connection: RksConnection, signal: AbortSignal) => Promise<void>) | undefined;
}

/**
 * Keep a node connected and registered, and its certificate renewed, until `signal` is aborted, reconnecting with the
 * newest certificate whenever the connection is lost.
 * @throws {RksError} CERTIFICATE_EXPIRED when the certificate's time is over, or what the control plane refused this
 * node with for good (NODE_BANNED, NODE_EVICTED, CERTIFICATE_REVOKED, CLIENT_CERTIFICATE_REFUSED …).
 */
export async function runSession(
  init: SessionInit,
  ports: NodeLinkPorts,
  options: SessionOptions,
): Promise<void> {
  const { clock } = ports;
  const statuses = new StatusQueue();
  const serverClock = new ServerClock(init.holder.newest.issuedAt.getTime(), ports);
  using moved = new MovedReplies(ports);
  const life = new LinkedAbort(options.signal);
  const { signal } = life;
  let broken: { readonly reason: unknown } | undefined;
  const side = collectStatuses(ports.pods, signal, (report) => {
    statuses.add(report);
    options.onPodStatus?.(report);
  }).catch((reason: unknown) => {
    broken = { reason };
    life.abort(reason);
  });
  try {
    const pauses = new RetryPauses(init.addresses, ports);
    let last: RksError | undefined;
    while (!signal.aborted) {
      options.onState({ kind: "connecting", attempt: pauses.retries });
      const session = { ...options, signal, statuses, moved, serverClock };
      const { error, address, wasConnected, readyMs } = await attempt(init, ports, session);
      if (signal.aborted) break;
      if (error.code === "CERTIFICATE_EXPIRED" && error.cause === undefined) {
        throw certificateExpired(init.holder.newest, last);
      }
      if (isFinalForSession(error)) throw withRemedy(error, init.holder.current.nodeName);
      last = error;
      const leftMs = init.holder.newest.notAfter.getTime() - serverClock.nowMs;
      const { retries, delayMs } = pauses.after({ error, address, readyMs, leftMs });
      options.onState({ kind: "waiting", attempt: retries, delayMs, error, wasConnected });
      await clock.sleep(delayMs, { signal }).catch(() => undefined);
    }
  } finally {
    life.abort();
    await side;
    options.onState({ kind: "stopped" });
  }
  if (broken !== undefined) throw RksError.from(broken.reason);
}

interface AttemptOptions extends SessionOptions {
  readonly statuses: StatusQueue;
  readonly moved: MovedReplies;
  readonly serverClock: ServerClock;
}

/** How one attempt to be served ended. */
interface Attempt {
  readonly error: RksError;
  /** Where. */
  readonly address: SocketAddress;
  readonly wasConnected: boolean;
  /** How long the node was registered; undefined when it was not. */
  readonly readyMs: number | undefined;
}

/** Connect and be served until that ends, for whatever reason. Never rejects. */
async function attempt(init: SessionInit, ports: NodeLinkPorts, options: AttemptOptions): Promise<Attempt> {
  const { holder } = init;
  const { clock, logger } = ports;
  const { signal, statuses, moved, serverClock, onState, onRenewed } = options;
  const linkInit = { ...init, instanceId: holder.instanceId, moved };
  const certificateOf = ({
    identity,
    connection,
    certificateGeneration: generation,
    renewsInMs,
  }: NodeLink): CertificateInUse => ({
    identity,
    generation,
    clockSkewMs: connection.clockSkewMs,
    renewAt: new Date(clock.now() + renewsInMs),
  });
  const renewal: RenewalInit = {
    holder,
    demand: init.demand,
    connect: async (inner) => {
      const { current } = init.addresses;
      const connected = await connectNewest(holder, {
        ...ports,
        addresses: init.addresses,
        serverClock,
        signal: inner,
      });
      dialed = current;
      return connected;
    },
    register: async (connection, inner) => {
      const trustGeneration = holder.trust.generation;
      const open = { connection, identity: holder.current, trustGeneration };
      const link = await NodeLink.register(open, linkInit, { ...ports, signal: inner });
      address = dialed;
      void options.onRegistered?.(connection, signal);
      return link;
    },
    onIssued: ({ issuedAt }) => serverClock.heard(issuedAt.getTime()),
    onRenewed: (link) => onRenewed?.(certificateOf(link)),
  };
  let dialed = init.addresses.current;
  /** Of the connection on which the node is registered, or would be. */
  let address = dialed;
  let wasConnected = false;
  let readySinceMs: number | undefined;
  // A function of its own: nothing here holds on to the first connection, and to its key, when it was replaced.
  const begin = async (): Promise<Serving> => {
    // With a certificate that is about to end, a try that hangs leaves time for the next one.
    const patience = (failure: string): Parameters<typeof inTime>[1] => ({
      leftMs: holder.newest.notAfter.getTime() - serverClock.nowMs,
      attempt: failure,
      clock,
      signal,
    });
    const connection = await openInTime(
      async (inner) => renewal.connect(inner),
      patience("the control plane did not answer"),
    );
    try {
      wasConnected = true;
      onState({ kind: "registering", remoteAddress: connection.remoteAddress });
      // Registration is about to report it all.
      statuses.clear();
      const link = await inTime(
        async (inner) => renewal.register(connection, inner),
        patience("the node did not register"),
      );
      readySinceMs = clock.monotonicMs();
      onState({ kind: "ready", heartbeatIntervalMs: link.heartbeatIntervalMs, ...certificateOf(link) });
      return new Serving(link);
    } catch (error) {
      await connection.close();
      throw error;
    }
  };
  try {
    await serveNode(await begin(), { ...ports, renewal, statuses, signal });
    throw new RksError("CONNECTION_LOST", "the agent ended the connection");
  } catch (reason) {
    const error = RksError.from(reason);
    if (error.code === "INTERNAL" && !signal.aborted) logger.error("Session failed", { cause: error.cause });
    const readyMs = readySinceMs === undefined ? undefined : clock.monotonicMs() - readySinceMs;
    return { error, address, wasConnected, readyMs };
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
