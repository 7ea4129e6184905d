import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { ControlPlane, residentMib, RKL, RKS } from "./control-plane.js";
import { type Figure, median } from "./report.js";

const RUNS = 11;
const REST_MS = 10_000;

/** What it costs to start the programs, and an agent's memory at rest. */
export async function programs(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [subject, program] of [
    ["rkl", RKL],
    ["rks", RKS],
  ] as const) {
    const times: number[] = [];
    for (let run = 0; run < RUNS; run++) {
      const start = performance.now();
      await promisify(execFile)(process.execPath, [program, "--help"]);
      times.push(performance.now() - start);
    }
    figures.push(figure(subject, "--help, whole process", median(times), "ms"));
  }
  figures.push(figure("rkl", "agent at rest, RSS", await agentAtRest(), "MiB"));
  return figures;
}

async function agentAtRest(): Promise<number> {
  await using rks = await ControlPlane.start();
  const token = await rks.mintToken();
  const folder = mkdtempSync(join(tmpdir(), "rk8s-bench-agent-"));
  const args = ["pod", "daemon", "--node-name", "worker-1", "--data-dir", folder, "--json"];
  const reach = [
    "--rks-address",
    rks.address,
    "--root-cert-path",
    rks.rootCertPath,
    "--join-token-file",
    "-",
  ];
  const agent = spawn(process.execPath, [RKL, ...args, ...reach], { stdio: ["pipe", "pipe", "ignore"] });
  try {
    agent.stdin.end(token);
    for await (const line of createInterface({ input: agent.stdout })) {
      if ((JSON.parse(line) as { event: string }).event === "registered") break;
    }
    await sleep(REST_MS);
    return residentMib(agent.pid!);
  } finally {
    agent.kill("SIGKILL");
    await once(agent, "exit");
    rmSync(folder, { recursive: true, force: true });
  }
}

function figure(subject: string, measure: string, value: number, unit: string): Figure {
  return { benchmark: "programs", subject, measure, value, unit };
}
