import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { FleetInit, FleetMember, FleetReport } from "./fleet-agents.js";
import type { FloodInit } from "./flood.js";
import type { FleetAnswer, FleetRequest } from "./fleet-process.js";

/** A fleet of agents over several processes, each of which runs on one core. */
export class FleetLoad implements AsyncDisposable {
  readonly #children: readonly ChildProcess[];

  private constructor(children: readonly ChildProcess[]) {
    this.#children = children;
  }

  static async start(processes: number, init: FleetInit): Promise<FleetLoad> {
    const script = fileURLToPath(new URL("./fleet-process.js", import.meta.url));
    const children = Array.from({ length: processes }, () => fork(script, { serialization: "advanced" }));
    const load = new FleetLoad(children);
    await load.#askAll({ open: init });
    return load;
  }

  /** Let these join, spread over the processes; resolves when each has registered. */
  async join(members: readonly FleetMember[]): Promise<void> {
    const count = this.#children.length;
    const shares = this.#children.map((_, i) => members.filter((_member, at) => at % count === i));
    await Promise.all(this.#children.map(async (child, i) => ask(child, { join: shares[i]! })));
  }

  /** Of all processes together. */
  async report(): Promise<FleetReport> {
    const reports = (await this.#askAll("report")) as FleetReport[];
    const counts: Record<string, number> = {};
    for (const report of reports)
      for (const [what, count] of Object.entries(report.counts)) counts[what] = (counts[what] ?? 0) + count;
    return {
      registered: reports.reduce((sum, { registered }) => sum + registered, 0),
      counts,
      heartbeatsMs: Float32Array.from(reports.flatMap(({ heartbeatsMs }) => [...heartbeatsMs])),
    };
  }

  /** Let each process attack until it ends. */
  async flood(init: FloodInit): Promise<void> {
    await this.#askAll({ flood: init });
  }

  /** CPU time of all processes so far. */
  async cpuMs(): Promise<number> {
    const usages = (await this.#askAll("usage")) as { readonly cpuMs: number }[];
    return usages.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  }

  /** End every agent without a word to the control plane. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const exited = once(child, "exit");
        child.kill("SIGKILL");
        await exited;
      }),
    );
  }

  async #askAll(request: FleetRequest): Promise<FleetAnswer[]> {
    return Promise.all(this.#children.map(async (child) => ask(child, request)));
  }
}

async function ask(child: ChildProcess, request: FleetRequest): Promise<FleetAnswer> {
  const answered = once(child, "message");
  child.send(request);
  const [answer] = (await answered) as [FleetAnswer];
  if (typeof answer === "object" && "failed" in answer) throw new Error(answer.failed);
  return answer;
}
