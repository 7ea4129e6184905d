import { expect, test } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";

test("rks is killed and started again: its nodes come back without a new token", async () => {
  await using cluster = await Cluster.start();
  const agents = await Promise.all([cluster.joinNode("worker-1"), cluster.joinNode("worker-2")]);
  const serials = (await cluster.nodes()).map(({ certificateSerial }) => certificateSerial);
  const heard = agents.map((agent) => agent.lines.length);

  cluster.controlPlane.kill("SIGKILL");
  await cluster.controlPlane.exited;
  await cluster.startControlPlane();

  await Promise.all(agents.map((agent, i) => agent.event("registered", heard[i])));
  const nodes = await eventually(
    () => cluster.nodes(),
    (list) => list.every(({ status }) => status === "Ready"),
  );
  expect(nodes.map(({ certificateSerial }) => certificateSerial)).toEqual(serials);
});

test("a second rks on the same folder is refused with the first one's pid", async () => {
  await using cluster = await Cluster.start();

  const second = await cluster.rks(["start", "--config", cluster.configFile, "--json"]);

  expect(second.status).toBe(75);
  expect(second.stderr).toContain(String(cluster.controlPlane.pid));
  expect(JSON.parse(second.stdout)).toMatchObject({ error: { code: "ALREADY_RUNNING", retryable: true } });
});

test("a second agent on the same data folder is refused", async () => {
  await using cluster = await Cluster.start();
  const first = await cluster.joinNode("worker-1");
  const { token } = await cluster.mintToken();

  const second = cluster.startAgent("worker-1", token);

  expect(await second.exited).toBe(75);
  expect(second.lines.at(-1)).toMatchObject({ event: "error", code: "ALREADY_RUNNING" });
  expect(second.stderr).toContain(String(first.pid));
});

test("SIGTERM ends rks with exit code 0", async () => {
  await using cluster = await Cluster.start();
  await cluster.joinNode("worker-1");

  expect(await cluster.controlPlane.stop()).toBe(0);
});

test("a sealed control plane serves no nodes and takes them back after unseal", async () => {
  await using cluster = await Cluster.start();
  const agent = await cluster.joinNode("worker-1");
  const heard = agent.lines.length;
  const { keys } = JSON.parse(await readKeys(cluster)) as { keys: string[] };

  assertDone(await cluster.rks(["seal", "--config", cluster.configFile]));
  await agent.event("disconnected", heard);
  const status = await cluster.rks(["status", "--config", cluster.configFile, "--json"]);
  expect(JSON.parse(assertDone(status).stdout)).toMatchObject({ sealed: true });
  const refused = await cluster.rks(["gen", "join-token", "--config", cluster.configFile]);
  expect(refused.status).toBe(75);

  assertDone(await cluster.rks(["unseal", "-", "--config", cluster.configFile], { stdin: `${keys[0]!}\n` }));
  await agent.event("registered", heard);
});

async function readKeys(cluster: Cluster): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  return readFile(`${cluster.vaultFolder}/keys.json`, "utf8");
}
