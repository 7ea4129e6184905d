import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { Lab } from "./harness/lab.js";
import { suiteThatNeeds } from "./harness/needs.js";

/** A control plane on a lab host of its own. */
async function startOn(lab: Lab, config: object = {}): Promise<Cluster> {
  const { address, prefix } = lab.host("rks");
  return Cluster.start({ addr: `${address}:0`, ...config }, { prefix });
}

suiteThatNeeds(
  ["linux", "root", "network namespaces"],
  "each process in a network namespace of its own",
  () => {
    test("two nodes join from their own addresses", async () => {
      await using lab = await Lab.create(["rks", "worker-1", "worker-2"]);
      await using cluster = await startOn(lab);
      const names = ["worker-1", "worker-2"];

      await Promise.all(names.map(async (name) => cluster.joinNode(name, { prefix: lab.host(name).prefix })));

      const nodes = await cluster.nodes();
      expect(nodes.map(({ name, status, address }) => ({ name, status, address }))).toEqual(
        names.map((name) => ({ name, status: "Ready", address: lab.host(name).address })),
      );
    });

    test("a node that is cut off becomes NotReady, and Ready again with the same certificate", async () => {
      await using lab = await Lab.create(["rks", "worker-1", "worker-2"]);
      await using cluster = await startOn(lab);
      const agent = await cluster.joinNode("worker-1", { prefix: lab.host("worker-1").prefix });
      await cluster.joinNode("worker-2", { prefix: lab.host("worker-2").prefix });
      const heard = agent.lines.length;
      const before = await cluster.nodes();

      await lab.partition("worker-1");
      const cutOff = await eventually(
        () => cluster.nodes(),
        ([first]) => first!.status !== "Ready",
      );
      expect(cutOff.map(({ status }) => status)).toEqual(["NotReady", "Ready"]);
      await agent.event("disconnected", heard);

      await lab.heal("worker-1");
      const healed = await eventually(
        () => cluster.nodes(),
        ([first]) => first!.status === "Ready",
      );
      expect(healed.map(({ certificateSerial }) => certificateSerial)).toEqual(
        before.map(({ certificateSerial }) => certificateSerial),
      );
    });

    test("a node joins through ten percent packet loss", async () => {
      await using lab = await Lab.create(["rks", "worker-1"]);
      await lab.lose("rks", 10);
      await lab.lose("worker-1", 10);
      await using cluster = await startOn(lab);

      await cluster.joinNode("worker-1", { prefix: lab.host("worker-1").prefix });

      expect((await cluster.nodes())[0]).toMatchObject({ name: "worker-1", status: "Ready" });
    });

    test("a token for one network is refused from another, and good from its own", async () => {
      await using lab = await Lab.create(["rks", "worker-1", "worker-2"]);
      await using cluster = await startOn(lab);
      const { token } = await cluster.mintToken(["--cidr", `${lab.host("worker-2").address}/32`]);

      const stranger = cluster.startAgent("worker-1", token, { prefix: lab.host("worker-1").prefix });
      expect(await stranger.exited).toBe(77);
      expect(stranger.lines.at(-1)).toMatchObject({ event: "error", code: "JOIN_TOKEN_SCOPE" });

      const guest = cluster.startAgent("worker-2", token, { prefix: lab.host("worker-2").prefix });
      expect(await guest.event("registered")).toMatchObject({ node: "worker-2" });
    });
  },
);
