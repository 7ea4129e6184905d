import { readFile } from "node:fs/promises";
import { decodePemCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import { FleetAgents, type FleetMember } from "../../benchmarks/src/fleet-agents.js";
import { newToken } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { UdpRelay } from "./harness/udp-relay.js";

const AGENTS = 60;
const VICTIMS = 10;

test(
  "a fleet stays Ready, its dead are found, and all come back after rks was killed",
  { timeout: 300_000 },
  async () => {
    await using cluster = await Cluster.start({ heartbeat: { interval: "2s", grace: "10s" } });
    const rootCertificates = decodePemCertificates(await readFile(cluster.rootCertPath));
    const init = { rksAddress: cluster.address, rootCertificates, concurrency: 8 };
    await using relay = await UdpRelay.open(cluster.address);
    await using agents = new FleetAgents(init);
    await using victims = new FleetAgents({ ...init, rksAddress: relay.address });

    await agents.join(await recruit(cluster, "node", AGENTS));
    await victims.join(await recruit(cluster, "victim", VICTIMS));
    relay.maxFromClient = 0;
    await eventually(
      async () => Promise.resolve(becameNotReady(cluster)),
      (names) => names.length >= VICTIMS,
    );

    // The living were heard of several times meanwhile, and nobody took one of them for dead.
    const { registered, counts, heartbeatsMs } = agents.report();
    expect(becameNotReady(cluster).filter((name) => !name.startsWith("victim"))).toEqual([]);
    expect(registered).toBe(AGENTS);
    expect(counts).toMatchObject({ registered: AGENTS });
    expect(heartbeatsMs.length).toBeGreaterThan(2 * AGENTS);

    cluster.controlPlane.kill("SIGKILL");
    await cluster.controlPlane.exited;
    await cluster.startControlPlane();
    await eventually(
      async () => Promise.resolve(agents.report()),
      (report) => report.registered === AGENTS && (report.counts["registered"] ?? 0) >= 2 * AGENTS,
    );
    const nodes = await cluster.nodes();
    expect(nodes).toHaveLength(AGENTS + VICTIMS);
    expect(nodes.filter(({ status }) => status === "Ready")).toHaveLength(AGENTS);
    expect(becameNotReady(cluster)).toEqual([]);
  },
);

/** The names in the log of the process that runs now. */
function becameNotReady(cluster: Cluster): string[] {
  const lines = cluster.controlPlane.stderr.matchAll(/Node changed nodeName=(\S+) from=\S+ to=NotReady/g);
  return [...lines].map(([, name]) => name!);
}

async function recruit(cluster: Cluster, prefix: string, count: number): Promise<FleetMember[]> {
  const { token } = await newToken(cluster, { uses: count });
  return Array.from({ length: count }, (_, i) => ({ nodeName: `${prefix}-${i}`, joinToken: token }));
}
