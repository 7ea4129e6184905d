import { LinkedAbort, RksError, type JoinToken } from "@rk8s/protocol";
import { AGENT_VERSION } from "./version.js";
import { errorEvent, EventLog, type AgentEvent, type AgentEventBody } from "./agent-events.js";
import { watchClocks, type ClockWatch } from "./clock-watch/clock-watch.js";
import { formatAddress } from "./bootstrap/address.js";
import { prepareNodeJoin, type JoinedNode, type NodeJoin } from "./bootstrap/node-join.js";
import type { Identity } from "./identity/identity.js";
import { IdentityHolder } from "./identity/identity-holder.js";
import type { IdentityStash } from "./identity/identity-stash.js";
import { readTrustBundle } from "./identity/trusted-roots.js";
import type { KeyPair } from "./identity/key-pair.js";
import type { TrustOptions } from "./identity/trust.js";
import type { PodHost, PodReport } from "./pods/pod-host.js";
import type { PodRuntime } from "./runtime/pod-runtime.js";
import { rememberRoots } from "./recovery/remember.js";
import { wayBack } from "./recovery/way-back.js";
import type { RecoveryOptions } from "./recovery/recovery-options.js";
import type { Survival } from "./supervisor/link.js";
import { completePorts, type AgentPorts, type PortOptions } from "./ports.js";
import type { Handlers } from "./session/handlers.js";
import { createHostFacts } from "./session/host-facts.js";
import type { NodeFacts } from "./session/node-facts.js";
import { createPodHandlers, NO_POD_HANDLERS } from "./session/pod-handlers.js";
import { RenewalDemand } from "./renewal/renewal-demand.js";
import {
  runSession,
  type SessionOptions,
  type CertificateInUse,
  type SessionState,
} from "./session/session.js";

export interface CreateAgentOptions extends TrustOptions, PortOptions {
  /** `host:port` of the control plane; of several, separated by commas. */
  readonly rksAddress: string;
  /** As `rks gen join-token` printed it, or parsed. Not needed when `stash` holds an identity. */
  readonly joinToken?: string | JoinToken | undefined;
  /** Default: the name bound to the token, else the common name of `csr`, else this host's name in lower case. */
  readonly nodeName?: string | undefined;
  /** Default: a new P-256 key pair. The agent owns and wipes it once it has joined; before that it stays the caller's. */
  readonly keyPair?: KeyPair | undefined;
  /** A certification request (DER) made with `keyPair`. */
  readonly csr?: Uint8Array | undefined;
  /** Runs the pods that the control plane sends. Without one, and without a `CreatePod` handler, the node takes none. It stays the caller's. */
  readonly runtime?: PodRuntime | undefined;
  /** Instead of `runtime`: whatever does with pods what a `PodHost` does. It stays the caller's. */
  readonly pods?: PodHost | undefined;
  /** Answers to messages of the control plane, instead of or besides the agent's own. */
  readonly handlers?: Handlers | undefined;
  /** What the node says of itself; default: what the operating system says. */
  readonly facts?: NodeFacts | undefined;
  /** Keeps the identity when this process dies. What it holds is gone on with, and the token is left alone. */
  readonly stash?: IdentityStash | undefined;
  /** What `stash` survives, in words for people; the control plane is told. */
  readonly survives?: Survival | undefined;
  /** Brings the node back when its key was lost, after a reboot for example: without a token, or with a used one. */
  readonly recovery?: RecoveryOptions | undefined;
  /** Tells when the host was suspended, the process stopped or the clock set. Default: looks at the clocks every two seconds. */
  readonly clockWatch?: ClockWatch | undefined;
  /** Ends the agent like `stop`. */
  readonly signal?: AbortSignal | undefined;
}

/** A node's agent at work. */
export interface Agent extends AsyncDisposable {
  /** The node's name: as asked for until the control plane has given one, undefined when none was. */
  readonly nodeName: string | undefined;
  /**
   * What happens, from the beginning, until `stopped` or `error`. One reader; the newest 1024 events wait for it.
   */
  events(): AsyncIterable<AgentEvent>;
  /**
   * Renew the certificate now instead of at two thirds of its lifetime, or as soon as there is a connection: after a
   * change of trust, for example. `reason` is logged. Demands before the renewal has begun are one.
   */
  renewNow(reason: string): void;
  /** Tell the control plane, close, leave the pods running. Resolves when that is done, 10 s at most. Idempotent. */
  stop(): Promise<void>;
  /** Resolves when the agent was stopped. @throws {RksError} what it was refused with for good. */
  readonly finished: Promise<void>;
}

/** Pods that a node takes, Kubernetes' own default. */
const POD_CAPACITY = 110;

/**
 * Make this process a node of the cluster: join with the token, connect by mutual TLS, register, send heartbeats,
 * answer the control plane. It goes on until it is stopped: whatever passes (nothing answers, a busy or sealed
 * control plane, a lost connection) is tried again with back-off; what it is refused with for good ends it.
 *
 * Resolves when everything is ready on this side, before anything was sent; follow `events()`, and `finished` for
 * the outcome.
 * @throws {RksError} USAGE_INVALID, JOIN_TOKEN_MALFORMED, NODE_NAME_INVALID, CONFIG_INVALID, CSR_INVALID,
 * CA_PIN_MISMATCH for options that cannot work. `finished` rejects with the codes of `requestCertificate` and
 * `connect`.
 */
export async function createAgent(options: CreateAgentOptions): Promise<Agent> {
  const { runtime, pods } = options;
  if (runtime !== undefined && pods !== undefined) throw new TypeError("give a runtime or pods, not both");
  const ports = await completePorts(options);
  return new RunningAgent(await prepareNodeJoin(options, ports), ports, options);
}

class RunningAgent implements Agent {
  readonly finished: Promise<void>;
  readonly #join: NodeJoin;
  readonly #ports: AgentPorts;
  readonly #options: CreateAgentOptions;
  readonly #events = new EventLog();
  readonly #stop = new AbortController();
  readonly #demand = new RenewalDemand();
  #holder: IdentityHolder | undefined;
  /** Of the certificate that events have told of. */
  #serial: string | undefined;

  constructor(join: NodeJoin, ports: AgentPorts, options: CreateAgentOptions) {
    this.#join = join;
    this.#ports = ports;
    this.#options = options;
    this.finished = this.#run();
    // Who does not look at `finished` sees the failure as the last event.
    this.finished.catch(() => undefined);
  }

  get nodeName(): string | undefined {
    return this.#holder?.current.nodeName ?? this.#options.nodeName;
  }

  renewNow(reason: string): void {
    this.#demand.renewNow(reason);
  }

  events(): AsyncIterable<AgentEvent> {
    return this.#events.read();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.finished.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(): Promise<void> {
    const { signal: outer } = this.#options;
    const life = new LinkedAbort(outer, this.#stop.signal);
    const { signal } = life;
    this.#watchClocks(signal).catch(() => undefined);
    try {
      await this.#work(signal);
      this.#emit({ event: "stopped" });
    } catch (reason) {
      const error = RksError.from(reason);
      this.#emit(errorEvent(error));
      throw error;
    } finally {
      life.abort();
      this.#events.end();
      this.#holder?.[Symbol.dispose]();
      this.#join[Symbol.dispose]();
    }
  }

  /**
   * After a sleep of the host or a jump nobody knows how old the certificate and the connection are: a renewal renews both.
   * A stop of this process alone left its timers right, so that what is due happens now; an overloaded host must not be
   * given more to do than that.
   */
  async #watchClocks(signal: AbortSignal): Promise<never> {
    const { clockWatch = watchClocks } = this.#options;
    return clockWatch(
      ({ pausedMs, shiftedMs }) => {
        this.#emit({ event: "clock", pausedSeconds: pausedMs / 1000, shiftedSeconds: shiftedMs / 1000 });
        if (shiftedMs !== 0) this.renewNow("the clock was set, or the host slept");
      },
      { clock: this.#ports.clock, signal },
    );
  }

  /** The pods come first: a runtime that does not work must not cost a token. */
  async #work(signal: AbortSignal): Promise<void> {
    const { runtime, pods } = this.#options;
    if (runtime === undefined) return this.#serve(pods, signal);
    const { createPodManager } = await import("./pods/pod-manager.js");
    await using manager = await createPodManager({ ...this.#ports, runtime });
    await this.#serve(manager, signal);
  }

  async #serve(pods: PodHost | undefined, signal: AbortSignal): Promise<void> {
    const facts = this.#options.facts ?? (await this.#hostFacts(pods));
    const options = {
      signal,
      onRetry: (attempt: number, delayMs: number, error: RksError) =>
        this.#emitReconnecting(attempt, delayMs, error),
    };
    let joined = await this.#join.obtain(this.#ports, options);
    while (joined !== undefined) {
      try {
        await this.#session(joined, { pods, facts, signal });
        return;
      } catch (reason) {
        const error = RksError.from(reason);
        if (error.code !== "CERTIFICATE_EXPIRED") throw error;
        const { nodeName } = joined.identity;
        joined = await this.#join.comeBack(error, this.#ports, { ...options, nodeName });
      }
    }
  }

  /** Be the node until stopped, or until its identity is good no more. */
  async #session(
    joined: JoinedNode,
    work: { readonly pods: PodHost | undefined; readonly facts: NodeFacts; readonly signal: AbortSignal },
  ): Promise<void> {
    const { identity } = joined;
    const { pods, facts, signal } = work;
    this.#holder?.[Symbol.dispose]();
    const holder = new IdentityHolder(identity, {
      keeper: this.#join.keeper,
      onRoots: (trust) => rememberRoots(trust, this.#options.recovery?.memory),
    });
    this.#holder = holder;
    this.#serial = identity.serialNumber;
    this.#emit({ event: joined.origin, ...describe(identity) });
    const init = {
      holder,
      demand: this.#demand,
      addresses: this.#join.addresses,
      handlers: {
        ...this.#identityHandlers(holder),
        ...(pods === undefined ? NO_POD_HANDLERS : createPodHandlers(pods)),
        ...this.#options.handlers,
      },
      version: AGENT_VERSION,
      machineIdSha256: this.#options.recovery?.machineIdSha256,
      survives: this.#options.survives,
    };
    await runSession(
      init,
      { ...this.#ports, pods, facts },
      {
        signal,
        onState: (state) => this.#onState(state),
        onRenewed: (certificate) => this.#onCertificate(certificate),
        onRegistered: this.#wayBack(identity.nodeName),
        onPodStatus: (report) => this.#emit(podEvent(report)),
      },
    );
  }

  #wayBack(nodeName: string): SessionOptions["onRegistered"] {
    const { recovery } = this.#options;
    if (recovery === undefined) return undefined;
    return wayBack({ nodeName, recovery }, this.#ports, (by) =>
      this.#emit({ event: "recovery", node: nodeName, by }),
    );
  }

  #identityHandlers(holder: IdentityHolder): Handlers {
    return {
      TrustBundle: async (message) => {
        const isNew = await holder.learnRoots(readTrustBundle(message));
        if (isNew) this.#emit({ event: "trust", generation: message.generation });
        if (message.renew) this.renewNow("the root of its certificate goes away");
      },
      RenewalRequired: ({ reason }) => this.renewNow(reason),
    };
  }

  #onState(state: SessionState): void {
    switch (state.kind) {
      case "registering":
        this.#emit({ event: "connected", rksAddress: formatAddress(state.remoteAddress) });
        break;
      case "ready":
        this.#onCertificate(state);
        this.#emit({ event: "registered", ...describeInUse(state) });
        break;
      case "waiting": {
        const { error, wasConnected } = state;
        if (wasConnected) this.#emit({ event: "disconnected", code: error.code, message: error.message });
        this.#emitReconnecting(state.attempt, state.delayMs, error);
        break;
      }
      case "connecting":
      case "stopped":
        break;
    }
  }

  #onCertificate(certificate: CertificateInUse): void {
    const { serialNumber } = certificate.identity;
    if (serialNumber === this.#serial) return;
    this.#serial = serialNumber;
    this.#emit({ event: "renewed", ...describeInUse(certificate) });
  }

  #emitReconnecting(attempt: number, delayMs: number, { code, message }: RksError): void {
    this.#emit({ event: "reconnecting", attempt, delaySeconds: delayMs / 1000, code, message });
  }

  #emit(body: AgentEventBody): void {
    this.#events.push({ time: new Date(this.#ports.clock.now()).toISOString(), ...body });
  }

  async #hostFacts(pods: PodHost | undefined): Promise<NodeFacts> {
    const { runtime: podRuntime, handlers } = this.#options;
    const takesPods = pods !== undefined || handlers?.CreatePod !== undefined;
    const runtime = await podRuntime?.info();
    return createHostFacts(
      {
        podCapacity: takesPods ? POD_CAPACITY : 0,
        runtimeVersion: runtime === undefined ? "" : `${runtime.name}://${runtime.version}`,
        agentVersion: AGENT_VERSION,
        diskPath: process.cwd(),
      },
      this.#ports,
    );
  }
}

function describe(identity: Identity): { node: string; serial: string; notAfter: string } {
  return {
    node: identity.nodeName,
    serial: identity.serialNumber,
    notAfter: identity.notAfter.toISOString(),
  };
}

function describeInUse({ identity, generation, renewAt, clockSkewMs }: CertificateInUse): ReturnType<
  typeof describe
> & {
  renewAt: string;
  clockSkewSeconds: number;
  generation?: number;
} {
  return {
    ...describe(identity),
    renewAt: renewAt.toISOString(),
    clockSkewSeconds: Math.round(clockSkewMs / 100) / 10,
    ...(generation === undefined ? {} : { generation }),
  };
}

function podEvent(report: PodReport): AgentEventBody {
  const { namespace, name, uid, status } = report;
  const reason = status.reason === undefined ? {} : { reason: status.reason };
  return { event: "pod", namespace, name, uid, phase: status.phase, ...reason };
}
