import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";

test("two nodes join with one token each and are Ready over mutual TLS", async () => {
  await using cluster = await Cluster.start();
  const [first, second] = await Promise.all([cluster.joinNode("worker-1"), cluster.joinNode("worker-2")]);

  const nodes = await eventually(
    () => cluster.nodes(),
    (list) => list.length === 2 && list.every(({ status }) => status === "Ready"),
  );

  expect(nodes.map(({ name }) => name)).toEqual(["worker-1", "worker-2"]);
  expect(nodes[0]!.certificateSerial).toBe((await first.event("registered"))["serial"]);
  expect(nodes[1]!.certificateSerial).toBe((await second.event("registered"))["serial"]);
});

test("an agent that is told to stop says goodbye and exits 0", async () => {
  await using cluster = await Cluster.start();
  const agent = await cluster.joinNode("worker-1");

  expect(await agent.stop()).toBe(0);

  expect(agent.lines.at(-1)).toMatchObject({ event: "stopped" });
  const [node] = await eventually(
    () => cluster.nodes(),
    ([listed]) => listed?.status !== "Ready",
  );
  expect(node!.status).toBe("NotReady");
});

test("a token joins by its pin alone, without a root certificate file", async () => {
  await using cluster = await Cluster.start();
  const { token } = await cluster.mintToken();
  await using agent = cluster.startAgent("worker-1", token, { rootCertPath: false });

  expect(await agent.event("registered")).toMatchObject({ node: "worker-1" });
});
