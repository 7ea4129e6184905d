import { expect, test } from "vitest";
import { behindRelay, survivePartition } from "./harness/network-story.js";

test("a NAT that forgets an agent's port three times costs not even the connection", async () => {
  await behindRelay({}, async ({ relay, facts, readLog, upheavals }) => {
    const before = await facts();
    for (let i = 0; i < 3; i++) {
      relay.rebind();
      await readLog();
    }
    expect(upheavals()).toEqual([]);
    expect(await facts()).toEqual(before);
  });
});

test("with a tenth of all datagrams lost and 300 ms there and back a node joins, runs a pod, is read from and stays", async () => {
  await behindRelay({ loss: 0.1, delayMs: 150 }, async ({ facts, readLog, upheavals }) => {
    const before = await facts();
    const end = performance.now() + 8000;
    // Each read's end travels through the losses; one that got lost for good would leave its reader waiting.
    for (let reads = 0; reads < 5 || performance.now() < end; reads++) await readLog();
    expect(upheavals()).toEqual([]);
    expect(await facts()).toEqual(before);
    expect(before).toMatchObject({ nodes: ["worker-1"], tokenUses: 1, generation: 0 });
  });
});

test("a partition of 20 s costs no node, no certificate and no pod, and is over as soon as it ends", async () => {
  const { before, during, after, ...outcome } = await survivePartition(20);

  expect(during.conditions).not.toContain("Ready");
  expect(outcome.refusal).toContain("exit 69");
  expect(outcome.refusedAfterMs).toBeLessThan(15_000);
  expect(outcome.backMs).toBeLessThan(10_000);
  expect(outcome.upheavals).toEqual(["disconnected", "registered"]);
  expect(after).toEqual(before);
});
