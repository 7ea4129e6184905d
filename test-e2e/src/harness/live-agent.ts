import { createAgent, type Agent, type AgentEvent } from "@rk8s/agent";

export interface LiveAgentInit {
  readonly rksAddress: string;
  readonly joinToken: string;
  readonly nodeName: string;
  /** Left out: the token's pin alone. */
  readonly rootCertPath?: string;
}

/** An agent in this process, without pods, whose events can be waited for. */
export class LiveAgent implements AsyncDisposable {
  readonly events: AgentEvent[] = [];
  readonly #agent: Agent;
  readonly #read: Promise<void>;
  readonly #wakeUps = new Set<() => void>();
  #hasEnded = false;

  private constructor(agent: Agent) {
    this.#agent = agent;
    this.#read = this.#readAll();
  }

  static async start(init: LiveAgentInit): Promise<LiveAgent> {
    return new LiveAgent(await createAgent(init));
  }

  /** The same, once it has registered. */
  static async join(init: LiveAgentInit): Promise<LiveAgent> {
    const agent = await LiveAgent.start(init);
    await agent.event("registered");
    return agent;
  }

  /** The first event that matches. @throws Error with all events when the agent ends without it. */
  async event(name: AgentEvent["event"], matches: object = {}): Promise<AgentEvent> {
    const isIt = (event: AgentEvent): boolean =>
      event.event === name &&
      Object.entries(matches).every(([key, value]) => (event as Record<string, unknown>)[key] === value);
    for (;;) {
      const found = this.events.find(isIt);
      if (found !== undefined) return found;
      if (this.#hasEnded) throw new Error(`the agent ended: ${JSON.stringify(this.events)}`);
      await new Promise<void>((resolve) => this.#wakeUps.add(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.stop();
    await this.#read;
  }

  async #readAll(): Promise<void> {
    for await (const event of this.#agent.events()) {
      this.events.push(event);
      this.#wake();
    }
    this.#hasEnded = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakeUps) wake();
    this.#wakeUps.clear();
  }
}
