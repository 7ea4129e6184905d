import { test } from "vitest";
import { survivesKills } from "../src/harness/migration-story.js";
import { suiteThatNeeds } from "../src/harness/needs.js";

suiteThatNeeds(["etcd"], "a vault that is moved to and fro", () => {
  // oxlint-disable-next-line vitest/expect-expect -- the story asserts
  test("is found whole after each of 50 kills at random moments", async () => {
    await survivesKills(50, Math.random);
  }, 1_500_000);
});
