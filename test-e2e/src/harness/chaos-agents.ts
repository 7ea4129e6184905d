import { setTimeout as sleep } from "node:timers/promises";
import { askRks, clusterState } from "./ask-rks.js";
import type { Cluster, ListedNode, MintedToken } from "./cluster.js";
import type { ChaosInit, ChaosOutcome } from "./chaos-story.js";
import type { Daemon, JsonLine } from "./process.js";

/** Longer than everything together is away. */
const JOIN_LIMIT_MS = 90_000;
const READY_LIMIT_MS = 30_000;
/** How `rkl` ends when it is refused for good. */
const REFUSED = 77;

interface Joined {
  readonly name: string;
  readonly token: MintedToken;
  readonly agent: Daemon;
}

/** Agents that are processes, what became of them, and what the store should know of it. */
export class ChaosAgents {
  readonly #cluster: Cluster;
  readonly #rksAddress: string;
  readonly #alive: number;
  readonly #joining = new Set<Daemon>();
  readonly #joined: Joined[] = [];
  readonly #stopped: Promise<void>[] = [];
  readonly #surprises: string[] = [];
  #stops = 0;

  constructor(cluster: Cluster, rksAddress: string, { alive }: Pick<ChaosInit, "alive">) {
    this.#cluster = cluster;
    this.#rksAddress = rksAddress;
    this.#alive = alive;
  }

  /** Those whose process can be killed. */
  get running(): readonly Daemon[] {
    return [...this.#joining, ...this.#joined.slice(this.#stops).map(({ agent }) => agent)];
  }

  /** Let agents of these names join at the same moment with one token for one use; resolves when each knows how it came out. */
  async join(names: readonly string[], token: MintedToken): Promise<void> {
    const { token: text } = token;
    const rivals = names.map((name) => ({
      name,
      token,
      agent: this.#cluster.startAgent(name, text, { rksAddress: this.#rksAddress }),
    }));
    for (const { agent } of rivals) this.#joining.add(agent);
    const limit = new AbortController();
    const isOver = sleep(JOIN_LIMIT_MS, "late" as const, { signal: limit.signal }).catch(
      () => "late" as const,
    );
    const outcomes = await Promise.all(
      rivals.map(async ({ agent }) => Promise.race([outcomeOf(agent), isOver])),
    );
    limit.abort();
    for (const { agent } of rivals) this.#joining.delete(agent);
    const winners = rivals.filter((_, index) => outcomes[index] === "joined");
    this.#joined.push(...winners);
    const refused = outcomes.filter((outcome) => outcome === "JOIN_TOKEN_USED").length;
    if (winners.length !== 1 || refused !== rivals.length - 1) {
      this.#surprises.push(
        `${names.join(" and ")}: ${outcomes.join(" and ")}: ${rivals.map(lastWords).join("; ")}`,
      );
    }
    while (this.#joined.length - this.#stops > this.#alive) this.#stopOne();
  }

  /** See whether the store knows all of it, whichever control plane is asked. */
  async compareWith(one: Cluster, two: Cluster): Promise<Omit<ChaosOutcome, "kills" | "ends">> {
    await Promise.all(this.#stopped);
    const alive = this.#joined.slice(this.#stops);
    for (const { name, agent } of alive) {
      if (!agent.isRunning) this.#surprises.push(`${name} ended: ${lastWords({ agent })}`);
    }
    const notReady = new Set<string>();
    const nodes: (readonly ListedNode[])[] = [];
    for (const cluster of [one, two]) {
      const { listed, missing } = await whenReady(cluster, alive);
      nodes.push(listed);
      for (const name of missing) notReady.add(name);
    }
    return {
      surprises: this.#surprises,
      lost: nodes.flatMap((listed) => this.#differences(listed)),
      notReady: [...notReady],
      tokens: await this.#misusedTokens(one),
      certificates: [
        ...(await this.#strangeCertificates(one, nodes[0]!)),
        ...(await this.#strangeCertificates(two, nodes[1]!)),
      ],
    };
  }

  #stopOne(): void {
    const { name, agent } = this.#joined[this.#stops]!;
    this.#stops += 1;
    const stop = async (): Promise<void> => {
      const code = await agent.stop();
      if (code !== 0) this.#surprises.push(`${name} ended with ${code}: ${lastWords({ agent })}`);
    };
    this.#stopped.push(stop());
  }

  #differences(listed: readonly ListedNode[]): readonly string[] {
    const known = new Set(listed.map(({ name }) => name));
    const joined = new Set(this.#joined.map(({ name }) => name));
    return [...new Set([...known, ...joined])].filter((name) => known.has(name) !== joined.has(name));
  }

  async #misusedTokens(cluster: Cluster): Promise<readonly string[]> {
    const { tokens } = await clusterState(cluster);
    const states = new Map(tokens.map((token) => [token.id, token]));
    return this.#joined.flatMap(({ name, token }) => {
      const state = states.get(token.id);
      const isRight = state?.usedCount === 1 && state.usedBy.length === 1 && state.usedBy[0]?.node === name;
      return isRight ? [] : [`${name}: ${JSON.stringify(state)}`];
    });
  }

  /** Certificates that an agent showed and the control plane does not know, and nodes that have another one. */
  async #strangeCertificates(cluster: Cluster, listed: readonly ListedNode[]): Promise<readonly string[]> {
    const nodes = new Map(listed.map((node) => [node.name, node]));
    const strange: string[] = [];
    for (const { name, agent } of this.#joined) {
      const serials = new Set(
        agent.lines.flatMap(({ serial }) => (typeof serial === "string" ? [serial] : [])),
      );
      const kept = nodes.get(name)?.certificateSerial;
      // Nobody renews in so short a time, so a node that has joined once has one certificate.
      if (serials.size !== 1 || kept === undefined || !serials.has(kept)) {
        strange.push(`${name} has ${[...serials].join(", ")} and is known with ${kept}`);
      }
      for (const serial of serials) {
        const isKnown = await askRks(cluster, "GET", `/v1/rk8s-pki/cert/${serial}`).then(
          (data) => (data as { certificate?: string } | undefined)?.certificate !== undefined,
          () => false,
        );
        if (!isKnown) strange.push(`${serial} of ${name} is not known`);
      }
    }
    return strange;
  }
}

async function outcomeOf(agent: Daemon): Promise<string> {
  const isOutcome = ({ event, code }: JsonLine): boolean =>
    event === "registered" || (event === "error" && code !== undefined);
  try {
    const { event, code } = await agent.line(isOutcome);
    if (event === "registered") return "joined";
    return (await agent.exited) === REFUSED ? String(code) : `ended with ${String(code)}`;
  } catch {
    return `ended with ${await agent.exited}`;
  }
}

/** The nodes as they are listed once all that run are Ready, or when the time for it is over. */
async function whenReady(
  cluster: Cluster,
  alive: readonly Joined[],
): Promise<{ readonly listed: readonly ListedNode[]; readonly missing: readonly string[] }> {
  const end = performance.now() + READY_LIMIT_MS;
  for (;;) {
    const listed = await cluster.nodes();
    const ready = new Set(listed.flatMap(({ name, status }) => (status === "Ready" ? [name] : [])));
    const missing = alive.flatMap(({ name }) => (ready.has(name) ? [] : [name]));
    if (missing.length === 0 || performance.now() > end) return { listed, missing };
    await sleep(200);
  }
}

function lastWords({ agent }: Pick<Joined, "agent">): string {
  return `${JSON.stringify(agent.lines.slice(-3))} ${agent.stderr.slice(-1500)}`;
}
