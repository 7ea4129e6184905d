import {
  type Agent,
  AGENT_VERSION,
  createAgent,
  createHostFacts,
  type NodeFacts,
  type NodeFactsContext,
  type RksError,
  systemClock,
  type Transport,
} from "@rk8s/agent";
import type { NodeStatus } from "@rk8s/protocol";
import { createQuicTransport } from "@rk8s/quic";
import { dialingInTurn } from "./dialing-in-turn.js";
import { timingHeartbeats } from "./heartbeat-timing.js";

/** This host's facts, read once for all agents of the process and stamped anew for each heartbeat. */
class SharedFacts implements NodeFacts {
  readonly #facts = createHostFacts(
    { podCapacity: 110, runtimeVersion: "process://1", agentVersion: AGENT_VERSION, diskPath: "." },
    { clock: systemClock },
  );
  #status: Promise<NodeStatus> | undefined;

  async read(context: NodeFactsContext): Promise<NodeStatus> {
    this.#status ??= this.#facts.read(context);
    const status = await this.#status;
    const lastHeartbeatTime = new Date().toISOString();
    const conditions = status.conditions.map((condition) => ({ ...condition, lastHeartbeatTime }));
    return { ...status, conditions };
  }
}

export interface FleetMember {
  readonly nodeName: string;
  readonly joinToken: string;
}

export interface FleetInit {
  readonly rksAddress: string;
  readonly rootCertificates: readonly Uint8Array[];
  /** Joins under way at a time. */
  readonly concurrency: number;
  /** Connections that are being opened at a time; default: as many as want to. */
  readonly dials?: number | undefined;
}

/** How the agents are since the last report. */
export interface FleetReport {
  /** Registered at this moment. */
  readonly registered: number;
  /** Registrations, renewals and other events so far, by name; refusals and losses by code. */
  readonly counts: Readonly<Record<string, number>>;
  /** Times of the heartbeats that were answered since the last report, in ms. */
  readonly heartbeatsMs: Float32Array;
}

/** Many real agents in one process, without pods: everything from the join to the back-off is the agent's own. */
export class FleetAgents implements AsyncDisposable {
  /** Hears of each pause before a try to connect again, in milliseconds. */
  onPause: ((delayMs: number) => void) | undefined;
  readonly #init: FleetInit;
  readonly #transport: Transport;
  readonly #facts = new SharedFacts();
  readonly #agents: Agent[] = [];
  readonly #registered = new Set<string>();
  readonly #counts = new Map<string, number>();
  #heartbeatsMs: number[] = [];

  constructor(init: FleetInit) {
    this.#init = init;
    const quic = createQuicTransport({ clock: systemClock });
    this.#transport = timingHeartbeats(
      init.dials === undefined ? quic : dialingInTurn(quic, init.dials),
      (ms) => this.#heartbeatsMs.push(ms),
    );
  }

  /** Let these join, and resolve when each has registered. @throws {RksError} what one of them is refused with. */
  async join(members: readonly FleetMember[]): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < members.length) await this.#start(members[next++]!);
    };
    await Promise.all(Array.from({ length: this.#init.concurrency }, worker));
  }

  report(): FleetReport {
    const heartbeatsMs = Float32Array.from(this.#heartbeatsMs);
    this.#heartbeatsMs = [];
    return { registered: this.#registered.size, counts: Object.fromEntries(this.#counts), heartbeatsMs };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#agents.map(async (agent) => agent.stop()));
  }

  async #start({ nodeName, joinToken }: FleetMember): Promise<void> {
    const { rksAddress, rootCertificates } = this.#init;
    const agent = await createAgent({
      ...{ rksAddress, joinToken, nodeName, rootCertificates, transport: this.#transport },
      facts: this.#facts,
    });
    this.#agents.push(agent);
    await new Promise<void>((resolve, reject) => {
      void this.#follow(agent, nodeName, resolve);
      agent.finished.catch((reason: RksError) => reject(reason));
    });
  }

  async #follow(agent: Agent, nodeName: string, onRegistered: () => void): Promise<void> {
    for await (const event of agent.events()) {
      this.#count("code" in event ? `${event.event} ${event.code}` : event.event);
      if (event.event === "registered") {
        this.#registered.add(nodeName);
        onRegistered();
      } else if (event.event === "reconnecting") {
        this.onPause?.(event.delaySeconds * 1000);
      } else if (["disconnected", "stopped", "error"].includes(event.event)) {
        this.#registered.delete(nodeName);
      }
    }
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }
}
