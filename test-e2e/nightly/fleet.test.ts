import { expect, test } from "vitest";
import { Cluster } from "../src/harness/cluster.js";
import { absence, aFleet } from "../src/harness/fleet-story.js";

const AGENTS = 500;

test("five hundred agents are back 20 s after a kill and quick restart, and 5 s after the end of a long absence, without a stampede", async () => {
  await using cluster = await Cluster.start({ heartbeat: { interval: "10s", grace: "40s" } });
  await using agents = await aFleet(cluster, { prefix: "node", count: AGENTS });

  const killed = await absence(cluster, agents, 0);
  process.stdout.write(`killed: ${JSON.stringify(killed)}\n`);
  expect(killed.refusals).toEqual({});
  expect(killed.registrations).toBeLessThan(1.2 * AGENTS);
  expect(killed.backMs).toBeLessThan(20_000);

  const away = await absence(cluster, agents, 40);
  process.stdout.write(`away: ${JSON.stringify(away)}\n`);
  expect(away.refusals).toEqual({});
  expect(away.registrations).toBeLessThan(1.2 * AGENTS);
  expect(away.backMs).toBeLessThan(5000);
  expect(away.triesPerSecond).toBeLessThan(1);
  expect(away.busiest).toBeGreaterThan(0);
  expect(away.busiest).toBeLessThan(0.3);

  const nodes = await cluster.nodes();
  expect(nodes).toHaveLength(AGENTS);
  expect(nodes.filter(({ status }) => status === "Ready")).toHaveLength(AGENTS);
}, 600_000);
