import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { decodePemCertificates } from "@rk8s/x509";
import { FleetAgents } from "../../../benchmarks/src/fleet-agents.js";
import { newToken } from "./ask-rks.js";
import type { Cluster } from "./cluster.js";

/** Few enough to leave the machine to what is tested. */
const PAUSE_MS = 100;

/** Real agents in this process that join one after the other, each with a token for one use, and stay. */
export class SteadyJoins implements AsyncDisposable {
  /** Of the nodes that have registered. */
  readonly names: string[] = [];
  /** What the slowest took, from asking for a token to being registered. */
  longestMs = 0;
  readonly #cluster: Cluster;
  readonly #agents: FleetAgents;
  readonly #running: Promise<void>;
  #isStopped = false;

  private constructor(cluster: Cluster, agents: FleetAgents) {
    this.#cluster = cluster;
    this.#agents = agents;
    this.#running = this.#run();
    // Whoever stops it is told.
    this.#running.catch(() => undefined);
  }

  static async start(cluster: Cluster): Promise<SteadyJoins> {
    const rootCertificates = decodePemCertificates(await readFile(cluster.rootCertPath));
    const { address: rksAddress } = cluster;
    return new SteadyJoins(cluster, new FleetAgents({ rksAddress, rootCertificates, concurrency: 1 }));
  }

  /** Let the one that is joining finish, and no other begin. @throws whatever an agent was refused with. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    await this.#agents[Symbol.asyncDispose]();
    await this.#running.catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const nodeName = `steady-${this.names.length + 1}`;
      const startedAt = performance.now();
      const { token: joinToken } = await newToken(this.#cluster, { node: nodeName });
      await this.#agents.join([{ nodeName, joinToken }]);
      this.longestMs = Math.max(this.longestMs, performance.now() - startedAt);
      this.names.push(nodeName);
      await sleep(PAUSE_MS);
    }
  }
}
