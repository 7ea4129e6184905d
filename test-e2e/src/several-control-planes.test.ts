import { setTimeout as sleep } from "node:timers/promises";
import { EtcdCluster } from "@rk8s/storage/testing/etcd";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { suiteThatNeeds } from "./harness/needs.js";
import type { Daemon } from "./harness/process.js";
import { whenStoredIn } from "./harness/storage-status.js";

/** What the nodes of a control plane that was killed get to be registered with another one. */
const FAILOVER_MS = 5_000;
/** What a ban gets to reach the other control plane, and with it the node. */
const BAN_MS = 1_000;

/** Two renewals of a control plane's place. */
const IDLE_MS = 6_000;

suiteThatNeeds(["etcd"], "two control planes on one etcd", () => {
  let etcd: EtcdCluster;
  let one: Cluster;
  let two: Cluster;
  beforeAll(async () => {
    etcd = await EtcdCluster.start({ members: 1, tls: false });
    const config = { xline_config: { endpoints: etcd.endpoints, prefix: "/several" } };
    one = await Cluster.start(config);
    await whenStoredIn(one, "etcd");
    two = await Cluster.beside(one, config);
  }, 60_000);
  afterAll(async () => {
    await two[Symbol.asyncDispose]();
    await one[Symbol.asyncDispose]();
    await etcd[Symbol.asyncDispose]();
  });
  const both = (): string => `${one.address},${two.address}`;

  test("a token for one use that meets both at the same moment lets one node join", async () => {
    const { token } = await one.mintToken();
    const agents = [
      one.startAgent("race-a", token, { rksAddress: one.address }),
      two.startAgent("race-b", token, { rksAddress: two.address }),
    ];
    const outcomes = await Promise.all(
      agents.map(async (agent) =>
        agent.line(({ event, code }) => event === "registered" || (event === "error" && code !== undefined)),
      ),
    );
    expect(new Set(outcomes.map(({ event, code }) => code ?? event))).toEqual(
      new Set(["JOIN_TOKEN_USED", "registered"]),
    );
    const names = (await two.nodes()).map(({ name }) => name);
    expect(names.filter((name) => name.startsWith("race-"))).toHaveLength(1);
  }, 30_000);

  test("a node that is banned at one loses its session with the other within a second", async () => {
    const agent = await two.joinNode("banned", { rksAddress: two.address });
    const refused = agent.line(({ code }) => code === "NODE_BANNED").then(() => performance.now());
    assertDone(await one.rks(["node", "ban", "banned", "--config", one.configFile]));
    const done = performance.now();
    expect((await refused) - done).toBeLessThan(BAN_MS);
    expect(await agent.exited).toBe(77);
  }, 30_000);

  test("agents spread; those of one that is killed are Ready at the other within five seconds, with no new token", async () => {
    const names = Array.from({ length: 6 }, (_, index) => `worker-${index}`);
    const agents = new Map<string, Daemon>();
    const joining = names.map(async (name) =>
      agents.set(name, await one.joinNode(name, { rksAddress: both() })),
    );
    await Promise.all(joining);
    const isHere = (address: string, agent: Daemon): boolean =>
      agent.lines.findLast(({ event }) => event === "connected")?.["rksAddress"] === address;
    const moving = names.filter((name) => isHere(two.address, agents.get(name)!));
    process.stdout.write(`${moving.length} of ${names.length} agents chose the second control plane\n`);
    const seen = new Map(moving.map((name) => [name, agents.get(name)!.lines.length]));
    const killed = performance.now();
    two.controlPlane.kill("SIGKILL");
    await Promise.all(moving.map(async (name) => agents.get(name)!.event("registered", seen.get(name))));
    const tookMs = performance.now() - killed;
    process.stdout.write(
      `they were registered with the first ${Math.round(tookMs)} ms after the second was killed\n`,
    );
    expect(moving.length === 0 || tookMs < FAILOVER_MS).toBe(true);
    const nodes = await one.nodes();
    for (const name of names) expect(nodes.find((node) => node.name === name)?.status).toBe("Ready");
    await two.startControlPlane();
    await eventually(
      async () => two.nodes(),
      (listed) => names.every((name) => listed.find((node) => node.name === name)?.status === "Ready"),
    );
  }, 60_000);

  test("while nothing happens both together write less than five times a second, however many nodes they have", async () => {
    const revision = async (): Promise<number> => {
      const [status] = JSON.parse(await etcd.etcdctl("endpoint", "status", "--write-out=json")) as {
        readonly Status: { readonly header: { readonly revision: number } };
      }[];
      return status!.Status.header.revision;
    };
    await sleep(2_000);
    const before = await revision();
    await sleep(IDLE_MS);
    const perSecond = ((await revision()) - before) / (IDLE_MS / 1000);
    process.stdout.write(`${perSecond.toFixed(1)} writes a second with two control planes\n`);
    expect(perSecond).toBeLessThan(5);
  }, 30_000);
});
