import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import type { Daemon } from "./harness/process.js";

/** Kill rks without a word to anybody. */
async function kill({ controlPlane }: Cluster): Promise<void> {
  controlPlane.kill("SIGKILL");
  await controlPlane.exited;
}

/** Milliseconds until the agent has registered again. */
async function untilBack(agent: Daemon, from: number): Promise<number> {
  const begun = performance.now();
  await agent.event("registered", from);
  return performance.now() - begun;
}

test("after a kill and a quick restart agents are back long before the idle timeout, with the same certificate", async () => {
  // Of heartbeats every second one would be given up before a control plane on a busy host is back.
  await using cluster = await Cluster.start({ heartbeat: { interval: "10s", grace: "40s" } });
  const agents = [await cluster.joinNode("worker-1"), await cluster.joinNode("worker-2")];
  const before = await cluster.nodes();
  const from = agents.map(({ lines }) => lines.length);

  await kill(cluster);
  await cluster.startControlPlane();

  const times = await Promise.all(agents.map(async (agent, i) => untilBack(agent, from[i]!)));
  expect(Math.max(...times)).toBeLessThan(12_000);
  const lost = agents.map(({ lines }, i) =>
    lines.slice(from[i]).find(({ event }) => event === "disconnected"),
  );
  // The restarted one said so; a timeout would say that there was no sign of it.
  const message = expect.stringContaining("it was restarted") as string;
  for (const line of lost) expect(line).toMatchObject({ code: "CONNECTION_LOST", message });
  const serials = (await cluster.nodes()).map(({ name, certificateSerial }) => [name, certificateSerial]);
  expect(serials).toEqual(before.map(({ name, certificateSerial }) => [name, certificateSerial]));
});

test("a control plane that was away is found within five seconds of its return", async () => {
  await using cluster = await Cluster.start();
  const agent = await cluster.joinNode("worker-1");
  await kill(cluster);
  await agent.line(({ event, attempt }) => event === "reconnecting" && Number(attempt) >= 5);

  const from = agent.lines.length;
  await cluster.startControlPlane();

  expect(await untilBack(agent, from)).toBeLessThan(5000);
});

test("a certificate that expires while the control plane is away ends an agent without another way, once, with what helps", async () => {
  await using cluster = await Cluster.start({ certificates: { node_ttl: "6s" } });
  const agent = await cluster.joinNode("worker-1", { env: { RKL_RECOVERY: "none" } });
  await kill(cluster);

  expect(await agent.exited).toBe(77);
  const errors = agent.lines.filter(({ event }) => event === "error");
  expect(errors).toMatchObject([{ code: "CERTIFICATE_EXPIRED" }]);
  expect(errors[0]!["suggestion"]).toContain("rks node rejoin worker-1");
});

test("an agent with a way back outlives its certificate, and comes back by itself when the control plane does", async () => {
  await using cluster = await Cluster.start({ certificates: { node_ttl: "6s" } });
  const grant = ["--recoveries", "1", "--recovery-window", "1h"];
  const { token } = await cluster.mintToken(["--node", "worker-1", ...grant]);
  const agent = cluster.startAgent("worker-1", token, { env: { RKL_RECOVERY: "none" } });
  expect(await agent.event("recovery")).toMatchObject({ by: "grant" });
  const [before] = await cluster.nodes();
  await kill(cluster);
  await agent.line(({ event, code }) => event === "reconnecting" && code === "CERTIFICATE_EXPIRED");

  const from = agent.lines.length;
  await cluster.startControlPlane();

  await agent.event("recovered", from);
  await agent.event("registered", from);
  const [after] = await cluster.nodes();
  expect(after).toMatchObject({ name: "worker-1", status: "Ready", joinedAt: before!.joinedAt });
  expect(after!.certificateSerial).not.toBe(before!.certificateSerial);
});
