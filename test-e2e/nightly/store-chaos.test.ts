import { expect, test } from "vitest";
import { surviveChaos } from "../src/harness/chaos-story.js";
import { suiteThatNeeds } from "../src/harness/needs.js";

const SEED = Number(process.env["CHAOS_SEED"] ?? Date.now() % 0x7fffffff);

suiteThatNeeds(
  ["etcd", "linux"],
  `two rks and three etcd members that are killed (CHAOS_SEED=${SEED})`,
  () => {
    test("let 200 nodes join while one process dies each second: nothing is lost, used twice or unknown", async () => {
      const { kills, ends, ...wrong } = await surviveChaos({
        joins: 200,
        together: 4,
        alive: 12,
        maxKills: Infinity,
        seed: SEED,
      });
      process.stdout.write(`${JSON.stringify({ seed: SEED, kills, ends })}\n`);
      expect(wrong).toEqual({ surprises: [], lost: [], notReady: [], tokens: [], certificates: [] });
      expect(Math.min(kills.agent, kills.rks, kills.etcd)).toBeGreaterThan(10);
    }, 1_500_000);
  },
);
