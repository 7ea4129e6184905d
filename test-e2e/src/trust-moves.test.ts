import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decodePemCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import { askRks, newToken } from "./harness/ask-rks.js";
import { Cluster, type MintedToken } from "./harness/cluster.js";
import { LiveAgent } from "./harness/live-agent.js";
import { caStatus, caStep, compromiseDrill, followed } from "./harness/root-rotation.js";
import { UdpRelay } from "./harness/udp-relay.js";

/** A token with the root file of the day it was made. */
interface Kept {
  readonly token: string;
  readonly rootFile: string;
}

async function keep(cluster: Cluster, phase: string): Promise<Kept> {
  const { token } = await newToken(cluster, { uses: 20, ttlSeconds: 3600 });
  const rootFile = join(cluster.folder, `root-${phase}.pem`);
  await writeFile(rootFile, await readFile(cluster.rootCertPath));
  return { token, rootFile };
}

/** The token lets nodes in by its pin alone and with its root file. */
async function joins(cluster: Cluster, name: string, { token: joinToken, rootFile }: Kept): Promise<void> {
  for (const [suffix, root] of [
    ["pin", {}],
    ["file", { rootCertPath: rootFile }],
  ] as const) {
    const nodeName = `${name}-${suffix}`;
    await using _ = await LiveAgent.join({ rksAddress: cluster.address, joinToken, nodeName, ...root });
    await askRks(cluster, "POST", `/v1/rk8s/nodes/${nodeName}/evict`, {});
  }
}

test("a whole rotation, with joins by older tokens in each phase, a way back, and nobody dropped", async () => {
  await using cluster = await Cluster.start();
  const agents = await Promise.all(
    ["worker-1", "worker-2", "worker-3"].map((name) => cluster.joinNode(name)),
  );
  const steady = await keep(cluster, "steady");

  expect(await caStep(cluster, "prepare")).toMatchObject({ phase: "prepared", generation: 1 });
  for (const agent of agents) expect(await agent.event("trust")).toMatchObject({ generation: 1 });
  expect(decodePemCertificates(await readFile(cluster.rootCertPath, "utf8"))).toHaveLength(2);
  const prepared = await keep(cluster, "prepared");
  await joins(cluster, "a", steady);

  expect(await caStep(cluster, "activate")).toMatchObject({ phase: "activated", generation: 2 });
  const activated = await keep(cluster, "activated");
  await joins(cluster, "b", steady);
  await joins(cluster, "c", prepared);
  await joins(cluster, "d", activated);

  // Back once more: who knows only the new root still finds the way, and the old root signs again.
  await followed(cluster);
  expect(await caStep(cluster, "rollback")).toMatchObject({ phase: "prepared", generation: 3 });
  await joins(cluster, "e", steady);
  await joins(cluster, "f", activated);
  expect(await caStep(cluster, "activate")).toMatchObject({ phase: "activated", generation: 4 });
  await followed(cluster);
  expect(await caStep(cluster, "retire")).toMatchObject({ phase: "steady", generation: 5 });
  await followed(cluster);
  await joins(cluster, "g", activated);
  expect(decodePemCertificates(await readFile(cluster.rootCertPath, "utf8"))).toHaveLength(1);

  // A token of the retired root is told so, over a channel that it can verify.
  const { token: joinToken } = steady;
  await using late = await LiveAgent.start({ rksAddress: cluster.address, joinToken, nodeName: "late" });
  expect(await late.event("error")).toMatchObject({ code: "CA_PIN_RETIRED" });

  const out = await cluster.rks(["ca", "activate", "--config", cluster.configFile, "--json"]);
  expect(out.status).toBe(65);
  expect(JSON.parse(out.stdout)).toMatchObject({ error: { code: "CA_PHASE_INVALID" } });
  expect(out.stderr).toContain("rks ca prepare");
  for (const agent of agents) {
    expect(agent.isRunning).toBe(true);
    expect(agent.lines.filter(({ event }) => event === "disconnected")).toEqual([]);
  }
});

test("who was away comes back by overlap; who was left behind by name is told CA_PIN_RETIRED", async () => {
  await using cluster = await Cluster.start();
  const start = async (nodeName: string, rksAddress: string): Promise<LiveAgent> => {
    const { token: joinToken } = await newToken(cluster, { node: nodeName });
    return LiveAgent.join({ rksAddress, joinToken, nodeName });
  };
  await using briefRelay = await UdpRelay.open(cluster.address);
  await using longRelay = await UdpRelay.open(cluster.address);
  await using brief = await start("brief", briefRelay.address);
  await using long = await start("long", longRelay.address);
  await using here = await start("here", cluster.address);
  for (const relay of [briefRelay, longRelay]) {
    relay.maxFromClient = 0;
    relay.swallowsAnswers = true;
  }
  await caStep(cluster, "prepare");
  await here.event("trust", { generation: 1 });
  await caStep(cluster, "activate");
  await followed(cluster, "brief,long");

  briefRelay.maxFromClient = Infinity;
  briefRelay.swallowsAnswers = false;
  await followed(cluster, "long");
  await brief.event("renewed");

  const refusal = expect.objectContaining({ code: "CA_PHASE_INVALID", suggestion: expect.any(String) });
  await expect(caStep(cluster, "retire")).rejects.toEqual(refusal);
  await expect(caStep(cluster, "retire", { force: ["here"] })).rejects.toMatchObject({
    suggestion: expect.stringContaining("rks ca retire --force long"),
  });
  expect(await caStep(cluster, "retire", { force: ["long"] })).toMatchObject({ phase: "steady" });
  longRelay.maxFromClient = Infinity;
  longRelay.swallowsAnswers = false;
  expect(await long.event("error")).toMatchObject({ code: "CA_PIN_RETIRED" });

  const answer = await askRks(cluster, "POST", "/v1/rk8s/nodes/long/rejoin", {});
  const { token: joinToken } = answer as MintedToken;
  await using _ = await LiveAgent.join({ rksAddress: cluster.address, joinToken, nodeName: "long" });
});

test("after a taint nothing leads through the old root, and who was away says CA_UNTRUSTED", async () => {
  await using cluster = await Cluster.start();
  const { token: joinToken } = await newToken(cluster, { uses: 5 });
  await using relay = await UdpRelay.open(cluster.address);
  await using away = await LiveAgent.join({ rksAddress: relay.address, joinToken, nodeName: "away" });
  await using here = await LiveAgent.join({ rksAddress: cluster.address, joinToken, nodeName: "here" });
  relay.maxFromClient = 0;
  relay.swallowsAnswers = true;
  await caStep(cluster, "prepare");
  await here.event("trust", { generation: 1 });
  expect(await caStep(cluster, "taint")).toMatchObject({ phase: "tainted", tokensRevoked: 1 });
  await here.event("renewed");
  await followed(cluster, "away");
  await expect(caStep(cluster, "rollback")).rejects.toMatchObject({ code: "CA_PHASE_INVALID" });

  await using late = await LiveAgent.start({ rksAddress: cluster.address, joinToken, nodeName: "late" });
  expect(await late.event("error")).toMatchObject({ code: "CA_PIN_MISMATCH" });

  expect(await caStep(cluster, "revoke", { force: ["away"] })).toMatchObject({ phase: "steady" });
  relay.maxFromClient = Infinity;
  relay.swallowsAnswers = false;
  await away.event("reconnecting", { code: "CA_UNTRUSTED" });
  // Somebody who only answers at the address must not be able to end it.
  expect(away.events.filter(({ event }) => event === "error")).toEqual([]);
  expect(here.events.filter(({ event }) => event === "disconnected")).toEqual([]);
});

test("a rotation goes on where it stood after rks was killed", async () => {
  await using cluster = await Cluster.start();
  const agent = await cluster.joinNode("worker-1");
  for (const [step, phase] of [
    ["prepare", "prepared"],
    ["activate", "activated"],
    ["retire", "steady"],
  ] as const) {
    await followed(cluster);
    await caStep(cluster, step);
    cluster.controlPlane.kill("SIGKILL");
    await cluster.controlPlane.exited;
    const from = agent.lines.length;
    await cluster.startControlPlane();
    expect(await caStatus(cluster)).toMatchObject({ phase });
    await agent.event("registered", from);
  }
  await followed(cluster);
});

test("a compromise drill leaves no agent behind and drops none", async () => {
  await using cluster = await Cluster.start();
  const outcome = await compromiseDrill(cluster, 20);
  expect(outcome).toMatchObject({ complaints: [], tokensRevoked: 1 });
  expect(outcome.seconds).toBeLessThan(60);
});
