import { readFile } from "node:fs/promises";
import { decodePemCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import { FleetAgents } from "../../benchmarks/src/fleet-agents.js";
import { Flood } from "../../benchmarks/src/flood.js";
import { newToken, tokenState } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { residentMib } from "./harness/memory.js";
import { join, RawAgent, refusalOf } from "./harness/raw-agent.js";
import { aKey, aRequest } from "./harness/raw-request.js";
import { UdpRelay } from "./harness/udp-relay.js";

const JOINS = 50;
/** Of the flood's own buffers, the new nodes and what V8 has not given back. */
const ROOM_MIB = 64;

async function rootsOf(cluster: Cluster): Promise<Uint8Array[]> {
  return decodePemCertificates(await readFile(cluster.rootCertPath));
}

test(
  "nodes behind one address join and live while packets and bad proofs come in from it",
  { timeout: 300_000 },
  async () => {
    // A heartbeat that is not answered within 10 s ends the connection, which the test would see.
    await using cluster = await Cluster.start({ heartbeat: { interval: "1s", grace: "30s" } });
    const rootCertificates = await rootsOf(cluster);
    const init = { rksAddress: cluster.address, rootCertificates, concurrency: 8 };
    const token = await newToken(cluster, { uses: JOINS + 1 });
    const member = (nodeName: string) => ({ nodeName, joinToken: token.token });
    await using good = new FleetAgents(init);
    await good.join(
      (await tokens(cluster, 10)).map((joinToken, i) => ({ nodeName: `good-${i}`, joinToken })),
    );
    good.report();
    const before = residentMib(cluster.controlPlane.pid);

    await using joining = new FleetAgents(init);
    {
      await using flood = await Flood.start({
        ...init,
        ...{ initialsPerSecond: 1_000, badProofsPerSecond: 10, tokenId: token.id },
      });
      await joining.join(Array.from({ length: JOINS }, (_, i) => member(`new-${i}`)));
      await eventually(
        async () => Promise.resolve(flood),
        ({ initials, outcomes }) => initials > 5_000 && (outcomes.get("JOIN_TOKEN_INVALID") ?? 0) > 20,
      );
      expect(flood.outcomes.get("a certificate")).toBeUndefined();
    }

    const { registered, counts, heartbeatsMs } = good.report();
    expect(registered).toBe(10);
    expect(Object.keys(counts).filter((event) => event.startsWith("disconnected"))).toEqual([]);
    expect(heartbeatsMs.length).toBeGreaterThan(10);
    expect(cluster.controlPlane.stderr).not.toContain("to=NotReady");
    // The bad proofs named it, and have taken nothing of it.
    expect((await tokenState(cluster, token.id)).usedCount).toBe(JOINS);
    await joining.join([member("the-last-use")]);
    await eventually(
      async () => Promise.resolve(residentMib(cluster.controlPlane.pid)),
      (now) => now < before + ROOM_MIB,
    );
  },
);

test("handshakes that are begun and not gone on with keep no node out", async () => {
  await using cluster = await Cluster.start();
  const rootCertificates = await rootsOf(cluster);
  const [joinToken] = await tokens(cluster, 1);
  await using relay = await UdpRelay.open(cluster.address);
  relay.maxFromClient = 2; // the first packet, and the same with the Retry token
  const begun = Array.from({ length: 300 }, async () => RawAgent.dial(cluster, { address: relay.address }));
  const over = Promise.allSettled(begun);
  await relay.clients(150); // more than one network's places; on a slow machine some dial too late to be counted

  await using agents = new FleetAgents({ rksAddress: cluster.address, rootCertificates, concurrency: 1 });
  await agents.join([{ nodeName: "patient", joinToken: joinToken! }]);

  expect(cluster.controlPlane.stderr).toContain("a slow handshake made room for others");
  await over;
});

test("a bad proof is the last one of its connection, and harms neither the token nor the name", async () => {
  await using cluster = await Cluster.start();
  const { token, id } = await newToken(cluster);
  const right = { token, csr: aRequest({ key: aKey() }), nodeName: "worker-1" };
  await using agent = await RawAgent.dial(cluster);
  const bad = { ...right, proven: { tokenId: "0000000000000000" } };
  expect(await refusalOf(agent.join(bad))).toBe("JOIN_TOKEN_INVALID");
  expect(await refusalOf(agent.join(right))).toBe("BUSY");
  expect((await tokenState(cluster, id)).usedCount).toBe(0);
  expect(await join(cluster, right)).toMatchObject({ nodeName: "worker-1" });
});

async function tokens(cluster: Cluster, count: number): Promise<string[]> {
  const { token } = await newToken(cluster, { uses: count });
  return Array.from({ length: count }, () => token);
}
