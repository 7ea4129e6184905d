import { expect, test } from "vitest";
import { surviveChaos } from "./harness/chaos-story.js";
import { suiteThatNeeds } from "./harness/needs.js";

const SEED = Number(process.env["CHAOS_SEED"] ?? Date.now() % 0x7fffffff);

suiteThatNeeds(
  ["etcd", "linux"],
  `two rks and three etcd members that are killed (CHAOS_SEED=${SEED})`,
  () => {
    test("let twenty nodes join while one process dies each second: nothing is lost, used twice or unknown", async () => {
      const { kills, ends, ...wrong } = await surviveChaos({
        joins: 20,
        together: 3,
        alive: 8,
        maxKills: 20,
        seed: SEED,
      });
      process.stdout.write(`${JSON.stringify({ seed: SEED, kills, ends })}\n`);
      expect(wrong).toEqual({ surprises: [], lost: [], notReady: [], tokens: [], certificates: [] });
      expect(kills.agent + kills.rks + kills.etcd).toBeGreaterThan(3);
    }, 300_000);
  },
);
