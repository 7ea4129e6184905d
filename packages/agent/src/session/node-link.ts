import { LIMITS, LinkedAbort, RksError, type Message, type NodeStatus } from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";
import type { PodHost } from "../pods/pod-host.js";
import type { AgentPorts } from "../ports.js";
import { dueInMs, renewalPoint } from "../renewal/renewal-schedule.js";
import type { RksConnection } from "./connection.js";
import { RequestServer } from "./dispatch.js";
import type { Handlers } from "./handlers.js";
import type { MovedReplies } from "./moved-replies.js";
import type { Survival } from "../supervisor/link.js";
import type { NodeFacts } from "./node-facts.js";

/** What a node is on every one of its connections. */
export interface NodeLinkInit {
  readonly handlers: Handlers;
  /** The agent's version, as it is reported. */
  readonly version: string;
  /** Tells this process's identity from a copy of it. */
  readonly instanceId: string;
  readonly moved: MovedReplies;
  /** What recovery knows this machine by; see SPEC.md §20. */
  readonly machineIdSha256?: Uint8Array | undefined;
  /** What keeps the identity when this process dies; said to the control plane. */
  readonly survives?: Survival | undefined;
}

export interface NodeLinkPorts extends AgentPorts {
  readonly facts: NodeFacts;
  /** None for an agent that runs no pods. */
  readonly pods: PodHost | undefined;
}

/** A connection that was replaced is closed after this, whatever is still open on it. */
const MAX_DRAIN_MS = 60_000;
/** What the control plane sent over the old connection before it knew of the new one arrives within this. */
const QUIET_MS = 1000;

/** A connection on which a node has registered: it answers what is asked over it until it ends. */
export class NodeLink {
  readonly connection: RksConnection;
  /** What the connection was opened with. */
  readonly identity: Identity;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  /** Which of the node's certificates this is, counted from 0; undefined when the control plane does not say. */
  readonly certificateGeneration: number | undefined;
  readonly #ports: NodeLinkPorts;
  readonly #server: RequestServer;
  readonly #end = new AbortController();
  readonly #renewalPoint: number;

  private constructor(
    open: { readonly connection: RksConnection; readonly identity: Identity },
    terms: Message<"Registered">,
    init: NodeLinkInit,
    ports: NodeLinkPorts,
  ) {
    this.connection = open.connection;
    this.identity = open.identity;
    this.heartbeatIntervalMs = terms.heartbeatIntervalSeconds * 1000;
    this.heartbeatTimeoutMs = Math.min(LIMITS.requestTimeoutMs, terms.heartbeatGraceSeconds * 1000);
    this.certificateGeneration = terms.certificateGeneration;
    this.#renewalPoint = renewalPoint(ports.random);
    this.#ports = ports;
    this.#server = new RequestServer(init.handlers, {
      ...ports,
      moved: init.moved,
      signal: this.#end.signal,
    });
    // It ends with the connection, which is watched by whoever the link serves.
    this.#server.serve(open.connection.incomingStreams()).catch((reason: unknown) => {
      ports.logger.error("Requests are not answered any more", { cause: reason });
      this.close().catch(() => undefined);
    });
  }

  /**
   * Register on a connection: say what the node is and which pods are here, and answer requests from then on.
   * @throws {RksError} what the control plane refuses the node with; TIMED_OUT, CONNECTION_LOST.
   */
  static async register(
    open: {
      readonly connection: RksConnection;
      readonly identity: Identity;
      /** Of the roots that the node trusts. */
      readonly trustGeneration: number;
    },
    init: NodeLinkInit,
    options: NodeLinkPorts & { readonly signal: AbortSignal },
  ): Promise<NodeLink> {
    const { connection, identity } = open;
    const { signal, ...ports } = options;
    const pods = (await ports.pods?.list()) ?? [];
    const terms = await connection.request(
      {
        type: "RegisterNode",
        nodeName: identity.nodeName,
        version: init.version,
        instanceId: init.instanceId,
        trustGeneration: open.trustGeneration,
        clockSkewSeconds: connection.clockSkewMs / 1000,
        status: await readStatus(open, ports),
        pods: pods.slice(0, LIMITS.maxPodsPerNode).map(({ namespace, name, uid, status }) => ({
          namespace,
          name,
          uid,
          status,
        })),
        ...(init.survives === undefined ? {} : { survives: init.survives }),
        ...(init.machineIdSha256 === undefined ? {} : { machineIdSha256: init.machineIdSha256 }),
      },
      "Registered",
      { signal },
    );
    return new NodeLink(open, terms, init, ports);
  }

  /** Milliseconds until the certificate is due for renewal, 0 when it is. */
  get renewsInMs(): number {
    const { serverNowMs } = this.connection;
    return dueInMs(this.identity, { serverNowMs, point: this.#renewalPoint });
  }

  /** Milliseconds that the certificate still lives by the control plane's clock, which then closes the connection. */
  get leftMs(): number {
    return Math.max(0, this.identity.notAfter.getTime() - this.connection.serverNowMs);
  }

  /** How the node is. */
  async status(): Promise<NodeStatus> {
    return readStatus(this, this.#ports);
  }

  /**
   * Another connection has taken over: let what was asked over this one come to its end, a minute at most and no longer
   * than its certificate lives, then close it. Never rejects.
   */
  async drain({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, logger } = this.#ports;
    const over = new LinkedAbort(signal);
    const { signal: inner } = over;
    const bound = clock.sleep(Math.min(MAX_DRAIN_MS, this.leftMs), { signal: inner });
    try {
      await Promise.race([this.#server.drain(QUIET_MS, { signal: inner }), bound, this.connection.ended]);
    } catch (reason) {
      if (!signal.aborted) logger.error("Connection could not be drained", { cause: reason });
    } finally {
      over.abort();
      await this.close();
    }
  }

  /** End every request that is still being answered, and the connection. Idempotent. */
  async close(): Promise<void> {
    this.#end.abort(new RksError("CONNECTION_LOST", "the node's connection has ended"));
    await this.connection.close();
  }
}

async function readStatus(
  open: { readonly connection: RksConnection; readonly identity: Identity },
  { facts }: Pick<NodeLinkPorts, "facts">,
): Promise<NodeStatus> {
  return facts.read({
    nodeName: open.identity.nodeName,
    localAddress: open.connection.localAddress,
  });
}
