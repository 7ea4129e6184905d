import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { aPodManifest } from "@rk8s/protocol/testing";
import { EtcdCluster } from "@rk8s/storage/testing/etcd";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";
import { applyPod, type ClusterState, clusterState, newToken } from "./harness/ask-rks.js";
import { assertDone, Cluster, type ListedNode } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { suiteThatNeeds } from "./harness/needs.js";
import type { Daemon } from "./harness/process.js";
import { whenStoredIn } from "./harness/storage-status.js";

/** What the nodes of a control plane that was killed get to be registered with another one. */
const FAILOVER_MS = 5_000;
/** What a change gets to be known to the other control planes, and to the nodes that it is about. */
const HEARD_MS = 1_000;

/** Two renewals of a control plane's place. */
const IDLE_MS = 6_000;

suiteThatNeeds(["etcd"], "three control planes on one etcd", () => {
  let etcd: EtcdCluster;
  let one: Cluster;
  let two: Cluster;
  let three: Cluster;
  beforeAll(async () => {
    etcd = await EtcdCluster.start({ members: 1, tls: false });
    const config = { xline_config: { endpoints: etcd.endpoints, prefix: "/several" } };
    one = await Cluster.start(config);
    await whenStoredIn(one, "etcd");
    [two, three] = await Promise.all([Cluster.beside(one, config), Cluster.beside(one, config)]);
  }, 60_000);
  afterAll(async () => {
    await three[Symbol.asyncDispose]();
    await two[Symbol.asyncDispose]();
    await one[Symbol.asyncDispose]();
    await etcd[Symbol.asyncDispose]();
  });
  const planes = (): readonly Cluster[] => [one, two, three];

  test("a token for one use that meets all of them at the same moment lets one node join", async () => {
    const { token } = await newToken(one);
    const agents = planes().map((plane, index) =>
      plane.startAgent(`race-${index}`, token, { rksAddress: plane.address }),
    );
    const outcomes = await Promise.all(
      agents.map(async (agent) =>
        agent.line(({ event, code }) => event === "registered" || (event === "error" && code !== undefined)),
      ),
    );
    expect(new Set(outcomes.map(({ event, code }) => code ?? event))).toEqual(
      new Set(["JOIN_TOKEN_USED", "registered"]),
    );
    expect(outcomes.filter(({ event }) => event === "registered")).toHaveLength(1);
    for (const plane of planes()) {
      const names = (await clusterState(plane)).nodes.map(({ name }) => name);
      expect(names.filter((name) => name.startsWith("race-"))).toHaveLength(1);
    }
  }, 30_000);

  test("a node that joined and a pod that was applied at one are known to the others within a second", async () => {
    const agent = await one.joinNode("seen", { rksAddress: one.address });
    const joined = performance.now();
    const everywhere = async (isThere: (state: ClusterState) => boolean): Promise<void> => {
      const known = planes().map((plane) => eventually(() => clusterState(plane), isThere));
      await Promise.all(known);
    };
    await everywhere(({ nodes }) => nodes.some(({ name }) => name === "seen"));
    expect(performance.now() - joined).toBeLessThan(HEARD_MS);
    const placed = agent.event("pod");
    await applyPod(two, aPodManifest({ name: "seen-pod", nodeName: "seen", command: ["sleep", "60"] }));
    const applied = performance.now();
    await everywhere(({ pods }) => pods.some(({ metadata }) => metadata.name === "seen-pod"));
    expect(performance.now() - applied).toBeLessThan(HEARD_MS);
    await placed;
    expect(performance.now() - applied).toBeLessThan(HEARD_MS);
  }, 30_000);

  test("a node that is banned at one loses its session with another within a second", async () => {
    const agent = await two.joinNode("banned", { rksAddress: two.address });
    const refused = agent.line(({ code }) => code === "NODE_BANNED").then(() => performance.now());
    assertDone(await one.rks(["node", "ban", "banned", "--config", one.configFile]));
    const done = performance.now();
    expect((await refused) - done).toBeLessThan(HEARD_MS);
    expect(await agent.exited).toBe(77);
  }, 30_000);

  test("agents spread; of those that are killed one after the other they go to the last, within five seconds and with no new token", async () => {
    const names = Array.from({ length: 6 }, (_, index) => `worker-${index}`);
    const rksAddress = planes()
      .map(({ address }) => address)
      .join();
    const agents = new Map<string, Daemon>();
    const joining = names.map(async (name) => {
      const { token } = await newToken(one, { node: name });
      const agent = one.startAgent(name, token, { rksAddress });
      await agent.event("registered");
      agents.set(name, agent);
    });
    await Promise.all(joining);
    const isHere = (address: string, agent: Daemon): boolean =>
      agent.lines.findLast(({ event }) => event === "connected")?.["rksAddress"] === address;
    // The first is the steward.
    for (const killed of [one, two]) {
      const moving = names.filter((name) => isHere(killed.address, agents.get(name)!));
      const seen = new Map(moving.map((name) => [name, agents.get(name)!.lines.length]));
      const killedAt = performance.now();
      killed.controlPlane.kill("SIGKILL");
      await Promise.all(moving.map(async (name) => agents.get(name)!.event("registered", seen.get(name))));
      const tookMs = performance.now() - killedAt;
      process.stdout.write(
        `${moving.length} of ${names.length} agents were registered elsewhere ${Math.round(tookMs)} ms after the kill\n`,
      );
      expect(moving.length === 0 || tookMs < FAILOVER_MS).toBe(true);
    }
    const { token } = await newToken(three);
    await three.startAgent("late", token, { rksAddress }).event("registered");
    const isReady = (listed: readonly ListedNode[]): boolean =>
      [...names, "late"].every((name) => listed.find((node) => node.name === name)?.status === "Ready");
    expect(isReady(await three.nodes())).toBe(true);
    await Promise.all([one.startControlPlane(), two.startControlPlane()]);
    await Promise.all([one, two].map((plane) => eventually(() => plane.nodes(), isReady)));
  }, 60_000);

  test("any of them takes a whole backup while all go on; none moves the store while others have it open", async () => {
    const { token } = await newToken(one, { uses: 6 });
    const joining = Array.from({ length: 6 }, (_, index) => {
      const plane = planes()[index % 3]!;
      return plane.startAgent(`backed-up-${index}`, token, { rksAddress: plane.address }).event("registered");
    });
    const backup = join(two.folder, "backup");
    assertDone(await two.rks(["storage", "backup", backup, "--config", two.configFile]));
    await Promise.all(joining);
    // Where nothing is yet: it is read twice and compared with its digest.
    const vaultFolder = join(two.folder, "restored");
    await mkdir(vaultFolder);
    await copyFile(join(two.vaultFolder, "keys.json"), join(vaultFolder, "keys.json"));
    const file = join(two.folder, "restored.yaml");
    await writeFile(file, stringify({ addr: "127.0.0.1:0", tls_config: { vault_folder: vaultFolder } }));
    assertDone(await two.rks(["storage", "restore", backup, "--config", file]));

    const move = await two.rks(["storage", "migrate", "--to", "local", "--config", two.configFile]);
    expect(move.status).toBe(75);
    expect(move.stderr).toContain(one.address);
    expect(move.stderr).toContain(three.address);
  }, 60_000);

  test("while nothing happens all together write less than five times a second, however many nodes they have", async () => {
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
    process.stdout.write(`${perSecond.toFixed(1)} writes a second with three control planes\n`);
    expect(perSecond).toBeLessThan(5);
  }, 30_000);
});
