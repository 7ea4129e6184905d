import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, createAgent, requestCertificate, systemClock, type Agent } from "@rk8s/agent";
import { createQuicTransport } from "@rk8s/quic";
import { decodePemCertificates } from "@rk8s/x509";
import { ControlPlane } from "./control-plane.js";
import { type Figure, median, percentile } from "./report.js";

const SUBJECT = "rks";
const FAST_JOINS = 600;
const CONCURRENCY = 16;
const PACED_JOINS = 150;
const PACE_MS = 100;
const WARM_UP_JOINS = 50;
const IDLE_NODES = 1000;

export interface Load {
  readonly rks: ControlPlane;
  readonly roots: readonly Uint8Array[];
  readonly transport: ReturnType<typeof createQuicTransport>;
}

/**
 * Whole joins against a real `rks`: two handshakes, CSR check, signature, durable commit. Then its memory with a
 * thousand idle nodes.
 */
export async function joins(): Promise<Figure[]> {
  await using rks = await ControlPlane.start();
  const load = await warmLoad(rks);
  const { perSecond, perCpuSecond } = await fastJoins(load, FAST_JOINS, "fast");
  return [
    figure(`joins, ${CONCURRENCY} at a time`, perSecond, "1/s"),
    figure("joins per CPU-second of rks", perCpuSecond, "1/s"),
    ...(await paced(load)),
    ...(await idle(load)),
  ];
}

/** A control plane that has seen some joins already. */
export async function warmLoad(rks: ControlPlane): Promise<Load> {
  const roots = decodePemCertificates(await readFile(rks.rootCertPath));
  const load: Load = { rks, roots, transport: createQuicTransport({ clock: systemClock }) };
  await joinMany(load, await tokens(rks, WARM_UP_JOINS), "warm");
  return load;
}

/** Join so many nodes, some at a time, as fast as it goes; their names begin with `prefix`. */
export async function fastJoins(
  load: Load,
  count: number,
  prefix: string,
): Promise<{ readonly perSecond: number; readonly perCpuSecond: number }> {
  const minted = await tokens(load.rks, count);
  const cpuBefore = load.rks.cpuMs;
  const start = performance.now();
  await joinMany(load, minted, prefix);
  const seconds = (performance.now() - start) / 1000;
  const cpuSeconds = (load.rks.cpuMs - cpuBefore) / 1000;
  return { perSecond: count / seconds, perCpuSecond: count / cpuSeconds };
}

async function paced(load: Load): Promise<Figure[]> {
  const minted = await tokens(load.rks, PACED_JOINS);
  const start = performance.now();
  const latencies = await Promise.all(
    minted.map(async (token, i) => {
      await sleep(start + i * PACE_MS - performance.now());
      const begun = performance.now();
      await joinOnce(load, token, `paced-${i}`);
      return performance.now() - begun;
    }),
  );
  return [
    figure("join latency at 10 joins/s, p50", median(latencies), "ms"),
    figure("join latency at 10 joins/s, p99", percentile(latencies, 0.99), "ms"),
  ];
}

async function idle(load: Load): Promise<Figure[]> {
  const agents: Agent[] = [];
  const before = load.rks.residentMib;
  const minted = await tokens(load.rks, IDLE_NODES);
  for (let at = 0; at < minted.length; at += CONCURRENCY) {
    const batch = minted.slice(at, at + CONCURRENCY).map(async (joinToken, i) => {
      const agent = await createAgent({
        rksAddress: load.rks.address,
        joinToken,
        nodeName: `idle-${at + i}`,
        rootCertificates: load.roots,
        transport: load.transport,
      });
      for await (const { event } of agent.events()) if (event === "registered") break;
      return agent;
    });
    agents.push(...(await Promise.all(batch)));
  }
  await sleep(15_000);
  const resident = load.rks.residentMib;
  await Promise.all(agents.map(async (agent) => agent.stop()));
  return [
    figure("RSS before idle nodes", before, "MiB"),
    figure(`RSS with ${IDLE_NODES} idle nodes`, resident, "MiB"),
  ];
}

async function joinMany(load: Load, minted: readonly string[], prefix: string): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      while (next < minted.length) {
        const i = next++;
        await joinOnce(load, minted[i]!, `${prefix}-${i}`);
      }
    }),
  );
}

async function joinOnce({ rks, roots, transport }: Load, joinToken: string, nodeName: string): Promise<void> {
  const rksAddress = rks.address;
  using identity = await requestCertificate({
    rksAddress,
    joinToken,
    nodeName,
    rootCertificates: roots,
    transport,
  });
  const connection = await connect({ rksAddress, identity, transport });
  await connection[Symbol.asyncDispose]();
}

async function tokens(rks: ControlPlane, count: number): Promise<string[]> {
  const minted: string[] = [];
  while (minted.length < count) {
    minted.push(...(await Promise.all(Array.from({ length: 20 }, async () => rks.mintToken()))));
  }
  return minted.slice(0, count);
}

function figure(measure: string, value: number, unit: string): Figure {
  return { benchmark: "joins", subject: SUBJECT, measure, value, unit };
}
