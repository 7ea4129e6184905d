import { expect, test } from "vitest";
import { killAgainAndAgain } from "../src/harness/death-story.js";

test("an agent that is killed twenty times, also while it renews, is the same node within two seconds", async () => {
  const outcome = await killAgainAndAgain("agent", 20);
  process.stdout.write(`${JSON.stringify(outcome)}\n`);

  expect(outcome).toMatchObject({
    surprises: [],
    nodes: ["worker-1"],
    tokenUses: 1,
    refusedBecause: null,
    pod: { restarts: 0, isTheSame: true },
    exitCode: 0,
  });
  expect(outcome.conditions).not.toContain("CloneSuspected");
  expect(Math.max(...outcome.backMs)).toBeLessThan(2000);
}, 400_000);

test("an rks that is killed twenty times, also while a node renews, has that node and its pod as before", async () => {
  const outcome = await killAgainAndAgain("control plane", 20);
  process.stdout.write(`${JSON.stringify(outcome)}\n`);

  expect(outcome).toMatchObject({
    surprises: [],
    nodes: ["worker-1"],
    tokenUses: 1,
    refusedBecause: null,
    pod: { restarts: 0, isTheSame: true },
    exitCode: 0,
  });
  expect(outcome.conditions).not.toContain("CloneSuspected");
}, 600_000);
