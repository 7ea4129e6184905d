import { expect, test } from "vitest";
import { renewUnderFire } from "./harness/renewal-story.js";
import { readLogSlowly } from "./harness/slow-reader.js";

const LIFETIMES = { node_ttl: "10s", server_ttl: "10s", root_ttl: "60s", root_rotation: "auto" };

test("a log stream and ten requests a second stay open while certificates of ten seconds and a root of a minute come and go", async () => {
  const outcome = await renewUnderFire({ certificates: LIFETIMES, seconds: 40 });

  expect(outcome.generations).toBeGreaterThanOrEqual(4);
  expect(outcome.roots).toBeGreaterThanOrEqual(1);
  expect(outcome.serverCertificates).toBeGreaterThanOrEqual(4);
  expect(outcome.failures).toEqual([]);
  expect(outcome.requests).toBeGreaterThan(200);
  expect(outcome.missedLines).toEqual([]);
  expect(outcome.followerLived).toBe(true);
  expect(outcome.agentEvents).toEqual([]);
});

test("a log of five megabytes comes whole to a reader who needs longer than any connection of its node lasts", async () => {
  const outcome = await readLogSlowly({ nodeTtlSeconds: 6, bytesPerSecond: 400_000 });

  const lateDocument = { status: 0, lines: 700_000 };
  expect(outcome).toMatchObject({ status: 0, isWhole: true, lateDocument });
  expect(outcome.seconds).toBeGreaterThan(10);
  expect(outcome.renewals).toBeGreaterThanOrEqual(3);
});
