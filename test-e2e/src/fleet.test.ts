import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { absence, aFleet } from "./harness/fleet-story.js";
import { UdpRelay } from "./harness/udp-relay.js";

const AGENTS = 60;
const VICTIMS = 10;

test(
  "a fleet stays Ready, its dead are found, and all come back after rks was killed and after it was long away",
  { timeout: 300_000 },
  async () => {
    await using cluster = await Cluster.start({ heartbeat: { interval: "2s", grace: "8s" } });
    await using relay = await UdpRelay.open(cluster.address);
    await using agents = await aFleet(cluster, { prefix: "node", count: AGENTS });
    await using _ = await aFleet(cluster, {
      prefix: "victim",
      count: VICTIMS,
      rksAddress: relay.address,
    });
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

    const killed = await absence(cluster, agents, 0);
    expect(killed.refusals).toEqual({});
    expect(killed.registrations).toBeLessThan(1.2 * AGENTS);
    expect(killed.backMs).toBeLessThan(20_000);

    const away = await absence(cluster, agents, 6);
    expect(away.refusals).toEqual({});
    expect(away.registrations).toBeLessThan(1.2 * AGENTS);
    expect(away.backMs).toBeLessThan(5000);
    expect(away.triesPerSecond).toBeLessThan(1);
    expect(away.busiest).toBeGreaterThan(0);
    expect(away.busiest).toBeLessThan(0.4);

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
