import { expect, test } from "vitest";
import { survivePartition } from "../src/harness/network-story.js";

test("a partition of a minute costs no node, no certificate and no pod", async () => {
  const { before, during, after, backMs, upheavals } = await survivePartition(60);

  expect(during.conditions).not.toContain("Ready");
  expect(backMs).toBeLessThan(10_000);
  expect(upheavals).toEqual(["disconnected", "registered"]);
  expect(after).toEqual(before);
});
