import { readFile } from "node:fs/promises";
import {
  AGENT_VERSION,
  connect,
  createHostFacts,
  type Identity,
  renewCertificate,
  requestCertificate,
  type RksConnection,
  systemClock,
} from "@rk8s/agent";
import { createQuicTransport } from "@rk8s/quic";
import { decodePemCertificates } from "@rk8s/x509";
import { ControlPlane } from "./control-plane.js";
import { type Figure, percentile } from "./report.js";

const NODES = 400;
const CONCURRENCY = 32;
/**
 * With the warm-up as many as a node may have at once. Each of its renewals but the first also revokes the one before, which was never
 * used: a fleet's are a little cheaper.
 */
const ROUNDS = 8;
/** Not measured: a control plane that was just started compiles its code. */
const WARM_UP_ROUNDS = 2;

interface RenewingNode {
  readonly identity: Identity;
  readonly connection: RksConnection;
}

/** CertificateRenew inside registered sessions: a new key each time, proof, signature, durable commit, audit. */
export async function renewals(): Promise<Figure[]> {
  await using rks = await ControlPlane.start();
  const nodes = await register(rks);
  for (let round = 0; round < WARM_UP_ROUNDS; round++) await renewAll(nodes, []);
  const latencies: number[] = [];
  const cpuBefore = rks.cpuMs;
  const begun = performance.now();
  for (let round = 0; round < ROUNDS; round++) await renewAll(nodes, latencies);
  const seconds = (performance.now() - begun) / 1000;
  const cpuSeconds = (rks.cpuMs - cpuBefore) / 1000;
  await each(nodes, async ({ connection }) => connection.close());
  return [
    figure(`renewals, ${CONCURRENCY} at a time`, latencies.length / seconds, "1/s"),
    figure("renewals per CPU-second of rks", latencies.length / cpuSeconds, "1/s"),
    figure("renewal p50", percentile(latencies, 0.5), "ms"),
    figure("renewal p99", percentile(latencies, 0.99), "ms"),
  ];
}

async function renewAll(nodes: readonly RenewingNode[], latencies: number[]): Promise<void> {
  await each(nodes, async ({ connection, identity }) => {
    const asked = performance.now();
    using _ = await renewCertificate(connection, identity);
    latencies.push(performance.now() - asked);
  });
}

async function register(rks: ControlPlane): Promise<RenewingNode[]> {
  const rootCertificates = decodePemCertificates(await readFile(rks.rootCertPath));
  const transport = createQuicTransport({ clock: systemClock });
  const joinToken = await rks.mintToken({ uses: NODES, ttlSeconds: 3600 });
  const facts = createHostFacts(
    { podCapacity: 0, runtimeVersion: "", agentVersion: AGENT_VERSION, diskPath: "." },
    { clock: systemClock },
  );
  const nodes: RenewingNode[] = [];
  const names = Array.from({ length: NODES }, (_, i) => `renewing-${i}`);
  await each(names, async (nodeName) => {
    const init = { rksAddress: rks.address, transport };
    const identity = await requestCertificate({ ...init, joinToken, nodeName, rootCertificates });
    const connection = await connect({ ...init, identity });
    const status = await facts.read({ nodeName, localAddress: connection.localAddress });
    const registration = { nodeName, version: AGENT_VERSION, status, pods: [] };
    await connection.request({ type: "RegisterNode", ...registration }, "Registered");
    nodes.push({ identity, connection });
  });
  return nodes;
}

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

function figure(measure: string, value: number, unit: string): Figure {
  return { benchmark: "renewals", subject: "rks", measure, value, unit };
}
